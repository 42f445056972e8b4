package main

import (
	"strings"

	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/internal/utf8bom"
)

// keyFlags name the API key of the admin listener, for the gateway and for who calls it.
type keyFlags struct {
	APIKey     string `name:"api-key" help:"Key of the admin listener's token call. On the command line others on this machine can see it: prefer --api-key-file or the variable." placeholder:"KEY" env:"SLUICE_API_KEY" secret:""`
	APIKeyFile string `name:"api-key-file" help:"File that holds the key." placeholder:"FILE" env:"SLUICE_API_KEY_FILE"`
}

// key returns the API key, empty when there is none.
func (f *keyFlags) key() (string, error) {
	switch {
	case f.APIKeyFile == "":
		return f.APIKey, checkKey("api-key", f.APIKey)
	case f.APIKey != "":
		return "", wrong("api-key", "there is --api-key-file, too: choose one")
	}
	b, err := readfile.Read(f.APIKeyFile, maxKeyFile)
	if err != nil {
		return "", wrong("api-key-file", "%w", err)
	}
	key := strings.TrimSpace(utf8bom.Trim(string(b)))
	if key == "" {
		return "", wrong("api-key-file", "%s is empty", f.APIKeyFile)
	}
	return key, checkKey("api-key-file", key)
}

// checkKey refuses what no header can carry as it is.
func checkKey(flag, key string) error {
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return wrong(flag, "the key holds blanks or characters beyond ASCII")
		}
	}
	return nil
}
