package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/sluicenet/sluice/bench"
)

// FormatVersion of File. A reader refuses others.
const FormatVersion = 1

// A File is what --json writes: the runs of one command.
type File struct {
	Tool    string          `json:"tool"`
	Version int             `json:"version"`
	Runs    []*bench.Result `json:"runs"`
}

// JSON writes runs as a File.
func JSON(w io.Writer, runs []*bench.Result) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(File{Tool: "sluice-bench", Version: FormatVersion, Runs: runs})
}

// Read reads a File back.
func Read(path string) (*File, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f File
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.Tool != "sluice-bench" || f.Version != FormatVersion || len(f.Runs) == 0 {
		return nil, fmt.Errorf("%s: not a result of sluice-bench, version %d", path, FormatVersion)
	}
	return &f, nil
}
