package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"
)

// maxPage is how many rows a page of a list has at most.
const maxPage = 1000

// List asks for a list page by page until limit rows have come, all of them for 0, and calls f with
// each. key is the name of the rows in the answer. more reports that the gateway has others.
func (c *Client) List(ctx context.Context, path string, query url.Values, key string, limit int, f func(row json.RawMessage) error) (more bool, err error) {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	for n := 0; ; {
		size := maxPage
		if limit > 0 {
			size = min(size, limit-n)
		}
		query.Set("limit", strconv.Itoa(size))
		body, err := c.Get(ctx, path, query)
		if err != nil {
			return false, err
		}
		rows, next, err := page(body, key)
		if err != nil {
			return false, err
		}
		for _, row := range rows {
			if err := f(row); err != nil {
				return false, err
			}
		}
		n += len(rows)
		switch {
		case next == "":
			return false, nil
		case limit > 0 && n >= limit:
			return true, nil
		case next == query.Get("cursor"):
			return false, fmt.Errorf("the gateway's list of %s does not end", key)
		}
		query.Set("cursor", next)
	}
}

// page returns the rows of an answer, and the cursor of the next page, empty if there is none.
func page(body json.RawMessage, key string) (rows []json.RawMessage, next string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(fields[key], &rows); err != nil {
		return nil, "", fmt.Errorf("the gateway's answer has no list of %s: %w", key, err)
	}
	if text, ok := fields["next"]; ok && string(text) != "null" {
		if json.Unmarshal(text, &next) != nil {
			next = string(text) // a number
		}
	}
	return rows, next, nil
}
