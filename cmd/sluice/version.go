package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/sluicenet/sluice/internal/buildinfo"
)

// What a release is, and the commit that it is made of: -ldflags "-X main.release=v1.2.3". Without
// them it is what the Go toolchain has recorded.
var release, commit string

type versionCmd struct {
	JSON bool `name:"json" help:"Print one object: version, commit, go, os, arch."`
}

// Help implements kong.HelpProvider.
func (*versionCmd) Help() string {
	return examples("sluice version", "sluice version --json") + localCodes
}

// Run prints the version.
func (cmd *versionCmd) Run(s *streams) error {
	if cmd.JSON {
		b, err := json.Marshal(struct {
			Version string `json:"version"`
			Commit  string `json:"commit,omitempty"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
		}{version(), revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
		if err != nil {
			return err
		}
		return printJSON(s.stdout, b)
	}
	_, err := fmt.Fprintln(s.stdout, "sluice", version(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return err
}

func version() string { return buildinfo.Version(release) }

// revision is the commit, empty if nothing has recorded it.
func revision() string {
	recorded := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				recorded = s.Value
			}
		}
	}
	return cmp.Or(commit, recorded)
}
