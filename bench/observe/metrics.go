package observe

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Scrape reads the counters, names that end in _total, of a page in Prometheus' text format. Labels
// are part of a name as they stand.
func Scrape(ctx context.Context, url string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("observe: %s: %s", url, resp.Status)
	}
	counters := map[string]float64{}
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
		name, value, ok := parseSample(sc.Text())
		if ok {
			counters[name] = value
		}
	}
	return counters, nil
}

func parseSample(line string) (name string, value float64, ok bool) {
	if strings.HasPrefix(line, "#") {
		return "", 0, false
	}
	end := strings.IndexAny(line, "{ ")
	if end < 0 || !strings.HasSuffix(line[:end], "_total") {
		return "", 0, false
	}
	if line[end] == '{' {
		brace := strings.LastIndexByte(line, '}')
		if brace < 0 {
			return "", 0, false
		}
		end = brace + 1
	}
	f := strings.Fields(line[end:]) // value, perhaps a time
	if len(f) == 0 {
		return "", 0, false
	}
	value, err := strconv.ParseFloat(f[0], 64)
	return line[:end], value, err == nil
}

// Grown is what counters have grown by, those that have.
func Grown(before, after map[string]float64) map[string]float64 {
	grown := map[string]float64{}
	for name, v := range after {
		if d := v - before[name]; d != 0 {
			grown[name] = d
		}
	}
	return grown
}
