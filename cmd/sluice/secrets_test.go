package main

import (
	"strings"
	"testing"
)

// TestSecretsInPlaceOfNames: a secret that was given where the name of its file is wanted, or within a
// URL, is in no error and no list of settings; the flag is named.
func TestSecretsInPlaceOfNames(t *testing.T) {
	const secret = "5WvJ0Zp3d8Rk1sQe7uGa"
	dir := t.TempDir()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"check", "--dev", "--admin-token", "full " + secret}, "--admin-token"},
		{[]string{"check", "--dev", "--admin-token", secret}, "--admin-token"},
		{[]string{"check", "--dev", "--admin-token", "full", secret}, "unexpected argument (not shown)"},
		{[]string{"check", "--dev", "--worker-token", secret}, "--worker-token"},
		{[]string{"check", "--dev", "--worker-token", "1 " + secret}, "--worker-token"},
		{[]string{"check", "--login", "otp", "--token-users", secret + " ann"}, "--token-users"},
		{[]string{"check", "--dev", "--api-key-file", secret}, "--api-key-file"},
		{[]string{"check", "--login", "tokens:" + secret + " ann"}, "--login"},
		{[]string{"check", "--login", "tokens:" + secret}, "--login"},
		{[]string{"check", "--login", "jwt:" + secret}, "--login"},
		{[]string{"check", "--login", "jwt:secret-file=" + secret}, "--login"},
		{[]string{"check", "--dev", "--tls-cert", "x", "--tls-key", "-----BEGIN PRIVATE KEY-----\n" + secret}, "unknown flag -----BEGIN...\n"},
		{[]string{"check", "--dev", "--tls-cert", "x", "--tls-key=-----BEGIN PRIVATE KEY-----\n" + secret}, "--tls-"},
		{[]string{"check", "--config", writeFile(t, dir, "full.toml", "dev = true\n[admin]\ntoken = \"full "+secret+"\"\n")}, "full.toml:3:9: admin.token"},
		{[]string{"conns", "--admin-token-file", "full " + secret}, "--admin-token-file"},
		{[]string{"token", "--api-key-file", secret}, "--api-key-file"},
		{[]string{"conns", "--admin", "http://u:" + secret + "@127.0.0.1:1"}, "--admin"},
		{[]string{"conns", "--admin", "u:" + secret + "@127.0.0.1:1"}, "--admin"},
		{[]string{"health", "--admin", "https://u:" + secret + "@[::1"}, "--admin"},
		{[]string{"topics", "--admin", "http://127.0.0.1:1?token=" + secret}, "--admin"},
		{[]string{"top", "--admin", "http://127.0.0.1:1/#" + secret}, "--admin"},
	} {
		code, out, errs := sluice(tc.args...)
		if code != exitUsage || strings.Contains(out+errs, secret) || !strings.Contains(errs, tc.want) {
			t.Errorf("%q: %d, %q, %q", tc.args, code, out, errs)
		}
	}
	for _, args := range [][]string{
		{"config", "--dev", "--admin-token", "full " + secret}, {"config", "--dev", "--admin-token", secret, "--json"},
		{"config", "--login", "tokens:" + secret + " ann"}, {"config", "--toml", "--login", "tokens:" + secret},
		{"config", "--toml", "--dev", "--worker-token", secret},
	} {
		if _, out, errs := sluice(args...); strings.Contains(out+errs, secret) {
			t.Errorf("%q: %q, %q", args, out, errs)
		}
	}
}

// TestWrongArguments: what is wrong with an argument is said in the words of its flag.
func TestWrongArguments(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"conns", "--limit", "-1"}, "--limit -1: want a number from 0 on"},
		{[]string{"conns", "-n", "-1"}, "--limit -1: want a number from 0 on"},
		{[]string{"health", "--wait", "-1s"}, "--wait"},
		{[]string{"conns", ""}, "the ID is empty"},
		{[]string{"topics", ""}, "the name is empty"},
		{[]string{"conns", "--admin", "http://127.0.0.1:1/api"}, `--admin "http://127.0.0.1:1/api": want http://HOST:PORT`},
		{[]string{"check", "--dev", "--max-topics", "9223372036854775808"}, "--max-topics: 9223372036854775808 is further from 0"},
		{[]string{"check", "--dev", "--max-topics", "-1"}, "--max-topics: -1, want"},
	} {
		code, out, errs := sluice(tc.args...)
		if code != exitUsage || out != "" || !strings.Contains(errs, tc.want) || strings.Contains(errs, "short flag") {
			t.Errorf("%q: %d, %q, %q; want %q", tc.args, code, out, errs, tc.want)
		}
	}
}
