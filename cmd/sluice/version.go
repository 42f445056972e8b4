package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct{ jsonFlag }

// Help implements kong.HelpProvider.
func (*versionCmd) Help() string {
	return examples("sluice version", "sluice version --json") + localCodes
}

// Run prints the version that the Go toolchain has recorded.
func (cmd *versionCmd) Run(s *streams) error {
	if cmd.JSON {
		b, err := json.Marshal(struct {
			Version string `json:"version"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
		}{version(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
		if err != nil {
			return err
		}
		return printJSON(s.stdout, b)
	}
	_, err := fmt.Fprintln(s.stdout, "sluice", version(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return err
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
