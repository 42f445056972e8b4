// Command bom writes what is in binaries of Go: a bill of materials in CycloneDX's JSON, and the texts
// of the licences that must go along with them.
//
//	bom -version v1.2.3 -epoch 1767225600 -out sluice.cdx.json -licenses LICENSES.txt bin/sluice bin/sluice-bench
//
// It reads the modules off the binaries, and their licences from the module cache: run it where they
// were built. A licence that it does not know is an error, so that nobody ships one unread.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "", "the release's version")
	epoch := flag.Int64("epoch", 0, "its time, in seconds since 1970")
	out := flag.String("out", "", "where to write the bill of materials")
	licenses := flag.String("licenses", "", "where to write the licences; nowhere if empty")
	var also []*module
	flag.Func("also", "PURL=FILE: what is embedded beside Go's modules, and the file of its licence", func(text string) error {
		m, err := embedded(text)
		also = append(also, m)
		return err
	})
	flag.Parse()
	if err := run(*version, *epoch, *out, *licenses, also, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bom:", err)
		os.Exit(1)
	}
}

func run(version string, epoch int64, out, licenses string, also []*module, files []string) error {
	if version == "" || out == "" || len(files) == 0 {
		return errors.New("want -version, -out and binaries")
	}
	var binaries []binary
	for _, f := range files {
		b, err := read(f)
		if err != nil {
			return err
		}
		binaries = append(binaries, b)
	}
	all, err := modulesOf(binaries)
	if err != nil {
		return err
	}
	all = append(all, also...)
	b, err := json.MarshalIndent(document(version, epoch, binaries, all), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(b, '\n'), 0o644); err != nil {
		return err
	}
	if licenses == "" {
		return nil
	}
	return os.WriteFile(licenses, licenceTexts(all), 0o644)
}

// A binary is a file and what Go says of it.
type binary struct {
	name   string
	digest string // SHA-256, hex
	info   *debug.BuildInfo
}

func read(file string) (b binary, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return b, err
	}
	info, err := buildinfo.Read(bytes.NewReader(text))
	if err != nil {
		return b, fmt.Errorf("%s: %w", file, err)
	}
	digest := sha256.Sum256(text)
	return binary{filepath.Base(file), hex.EncodeToString(digest[:]), info}, nil
}

// A module is one that a binary is made of.
type module struct {
	path, version string
	url           string // its package URL
	sum           string // SHA-256 of its files as go.sum has it, hex; empty: of the standard library
	licence       string // SPDX
	texts         [][]byte
}

// embedded reads -also.
func embedded(text string) (*module, error) {
	url, file, ok := strings.Cut(text, "=")
	name, version, versioned := strings.Cut(url, "@")
	if !ok || !versioned || version == "" {
		return nil, fmt.Errorf("%q: want pkg:npm/NAME@VERSION=FILE", text)
	}
	licence, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m := &module{path: name[strings.LastIndexByte(name, '/')+1:], version: version, url: url, texts: [][]byte{licence}}
	if m.licence = spdx(string(licence)); m.licence == "" {
		return nil, fmt.Errorf("%s: no licence that is known", file)
	}
	return m, nil
}

func golang(path, version string) string { return "pkg:golang/" + path + "@" + version }

// modulesOf lists the modules of all binaries, the standard library first.
func modulesOf(binaries []binary) (list []*module, err error) {
	std := binaries[0].info.GoVersion
	list = []*module{{path: "std", version: strings.TrimPrefix(std, "go"), url: golang("std", strings.TrimPrefix(std, "go"))}}
	seen := make(map[string]bool)
	for _, b := range binaries {
		if b.info.GoVersion != std {
			return nil, fmt.Errorf("%s is built by %s, not by %s", b.name, b.info.GoVersion, std)
		}
		for _, d := range b.info.Deps {
			if d.Replace != nil {
				return nil, fmt.Errorf("%s is replaced by %s: not for a release", d.Path, d.Replace.Path)
			}
			if seen[d.Path] {
				continue
			}
			seen[d.Path] = true
			sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(d.Sum, "h1:"))
			if err != nil || len(sum) != sha256.Size {
				return nil, fmt.Errorf("%s: the sum %q is none", d.Path, d.Sum)
			}
			list = append(list, &module{
				path: d.Path, version: d.Version, url: golang(d.Path, d.Version), sum: hex.EncodeToString(sum),
			})
		}
	}
	slices.SortFunc(list[1:], func(a, b *module) int { return strings.Compare(a.path, b.path) })
	for _, m := range list {
		if err := m.findLicence(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// findLicence reads the texts that come with a module.
func (m *module) findLicence() error {
	dir, err := m.dir()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		named := strings.HasPrefix(name, "LICEN") || strings.HasPrefix(name, "COPYING") || strings.HasPrefix(name, "NOTICE")
		if !named || !e.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		m.texts = append(m.texts, text)
		if m.licence == "" {
			m.licence = spdx(string(text))
		}
	}
	if m.licence == "" {
		return fmt.Errorf("%s@%s: no licence that is known in %s", m.path, m.version, dir)
	}
	return nil
}

// embeddedIn reports whether a binary holds what -also names: the gateway's does.
func (m *module) embeddedIn(b binary) bool {
	return !strings.HasPrefix(m.url, "pkg:golang/") && b.name == "sluice"
}

// dir is where its source is.
func (m *module) dir() (string, error) {
	args := []string{"mod", "download", "-json", m.path + "@" + m.version}
	if m.sum == "" {
		args = []string{"env", "GOROOT"}
	}
	text, err := exec.Command("go", args...).Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	if m.sum == "" {
		return strings.TrimSpace(string(text)), nil
	}
	var has struct{ Dir string }
	if err := json.Unmarshal(text, &has); err != nil {
		return "", err
	}
	return has.Dir, nil
}

// spdx names the licences in a text by words that each alone has, empty if it is none of these. Some
// modules have several, for their parts.
func spdx(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(words string) bool { return strings.Contains(text, words) }
	const bsd = "Redistribution and use in source and binary forms"
	var list []string
	for _, l := range []struct {
		id string
		is bool
	}{
		{"Apache-2.0", has("Apache License") && has("Version 2.0")},
		{"BSD-2-Clause", has(bsd) && !has("Neither the name")},
		{"BSD-3-Clause", has(bsd) && has("Neither the name")},
		{"ISC", has("Permission to use, copy, modify, and/or distribute this software for any purpose")},
		{"MIT", has("Permission is hereby granted, free of charge")},
	} {
		if l.is {
			list = append(list, l.id)
		}
	}
	return strings.Join(list, " AND ")
}

// licenceTexts are all texts, each once, under the names of the modules whose it is.
func licenceTexts(modules []*module) []byte {
	var b bytes.Buffer
	b.WriteString("Licences of what the programs are made of.\n")
	names := make(map[string][]string)
	var order []string
	for _, m := range modules {
		text := strings.TrimSpace(strings.ReplaceAll(string(bytes.Join(m.texts, []byte("\n\n"))), "\r", ""))
		if names[text] == nil {
			order = append(order, text)
		}
		names[text] = append(names[text], m.path)
	}
	for _, text := range order {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 78), strings.Join(names[text], "\n"), text)
	}
	return b.Bytes()
}

// document is the bill of materials of CycloneDX 1.6; cyclonedx.org has its schema.
func document(version string, epoch int64, binaries []binary, modules []*module) any {
	type object = map[string]any
	hashes := func(sum string) []object { return []object{{"alg": "SHA-256", "content": sum}} }
	root := object{
		"bom-ref": "sluice@" + version, "type": "application", "name": "sluice", "version": version,
		"licenses": []object{{"license": object{"id": "MIT"}}},
		"purl":     "pkg:golang/github.com/sluicenet/sluice@" + version,
	}
	components, depends := []object{}, []object{}
	var programs []string
	for _, b := range binaries {
		ref := b.name + "@" + version
		programs = append(programs, ref)
		properties := []object{{"name": "go:version", "value": b.info.GoVersion}}
		for _, s := range b.info.Settings {
			if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "CGO_ENABLED" {
				properties = append(properties, object{"name": "go:" + s.Key, "value": s.Value})
			}
		}
		components = append(components, object{
			"bom-ref": ref, "type": "application", "name": b.name, "version": version,
			"hashes": hashes(b.digest), "properties": properties,
		})
		on := []string{modules[0].url} // the standard library
		for _, d := range b.info.Deps {
			on = append(on, golang(d.Path, d.Version))
		}
		for _, m := range modules {
			if m.embeddedIn(b) {
				on = append(on, m.url)
			}
		}
		depends = append(depends, object{"ref": ref, "dependsOn": on})
	}
	for _, m := range modules {
		c := object{
			"bom-ref": m.url, "type": "library", "name": m.path, "version": m.version, "purl": m.url,
			"licenses": []object{{"expression": m.licence}},
		}
		if m.sum != "" {
			c["hashes"] = hashes(m.sum)
		}
		components = append(components, c)
		depends = append(depends, object{"ref": m.url})
	}
	return object{
		"$schema":     "http://cyclonedx.org/schema/bom-1.6.schema.json",
		"bomFormat":   "CycloneDX",
		"specVersion": "1.6",
		"version":     1,
		"metadata": object{
			"timestamp": time.Unix(epoch, 0).UTC().Format(time.RFC3339),
			"component": root,
			"authors":   []object{{"name": "The sluice developers"}},
		},
		"components":   components,
		"dependencies": append([]object{{"ref": root["bom-ref"], "dependsOn": programs}}, depends...),
	}
}
