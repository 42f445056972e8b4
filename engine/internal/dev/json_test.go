package dev

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"
)

var publishBodies = []struct {
	payload, topic, data string
	ok                   bool
}{
	{`{"topic":"t","data":{"x": 1}}`, "t", `{"x": 1}`, true},
	{`{"data":1,"topic":"t"}`, "t", `1`, true},
	{` { "topic" : "a b" , "data" : [ "}", 2 ] } `, "a b", `[ "}", 2 ]`, true},
	{`{"topic":"t","data":null}`, "t", `null`, true},
	{`{"topic":"t","data":"\"quoted\\"}`, "t", `"\"quoted\\"`, true},
	{`{"topic":"\u0074\"","data":-1.5e3}`, `t"`, `-1.5e3`, true},
	{`{"other":{"topic":"no","data":2},"topic":"t","data":3,"more":[]}`, "t", `3`, true},
	{`{"topic":"a","topic":"b","data":1,"data":2}`, "b", `2`, true},
	{`{"\u0074opic":"t","data":1}`, "t", `1`, true},
	{`{"topic":"t"}`, "", "", false},
	{`{"data":1}`, "", "", false},
	{`{"topic":5,"data":1}`, "", "", false},
	{`[]`, "", "", false},
	{`null`, "", "", false},
	{`{}`, "", "", false},
	{`"topic"`, "", "", false},
}

func TestPublishBody(t *testing.T) {
	for _, tc := range publishBodies {
		topic, data, ok := publishBody([]byte(tc.payload))
		if ok != tc.ok || ok && (string(topic) != tc.topic || string(data) != tc.data) {
			t.Errorf("%s: topic %q, data %q, %v", tc.payload, topic, data, ok)
		}
	}
}

func TestPublishBodyAllocatesNothing(t *testing.T) {
	payload := []byte(`{"topic":"room.1","data":{"text":"hello"}}`)
	if n := testing.AllocsPerRun(100, func() { publishBody(payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzPublishBody(f *testing.F) {
	for _, tc := range publishBodies {
		f.Add([]byte(tc.payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if !json.Valid(payload) {
			return // the worker has refused it by then
		}
		topic, data, ok := publishBody(payload)
		var want map[string]json.RawMessage
		if json.Unmarshal(payload, &want) != nil || !utf8.Valid(payload) {
			return // no object; or bytes that the full decoder replaces
		}
		var wantTopic *string
		isText := json.Unmarshal(want["topic"], &wantTopic) == nil && wantTopic != nil
		wantData, hasData := want["data"]
		if ok != (isText && hasData) {
			t.Fatalf("%q: ok = %v, encoding/json has topic %q, data %q", payload, ok, want["topic"], wantData)
		}
		if ok && string(data) != string(bytes.TrimSpace(wantData)) {
			t.Fatalf("%q: data %q, want %q", payload, data, wantData)
		}
		if ok && string(topic) != *wantTopic {
			t.Fatalf("%q: topic %q, want %q", payload, topic, *wantTopic)
		}
	})
}

var topicBodies = []struct {
	payload string
	topics  []string
	ok      bool
}{
	{`{"topics":["a"]}`, []string{"a"}, true},
	{` { "x" : {"topics":["no"]} , "topics" : [ "a" , "b c" ] , "y":[1,"z"] } `, []string{"a", "b c"}, true},
	{`{"topics":["\u0061\"","]"]}`, []string{`a"`, "]"}, true},
	{`{"topics":["a"],"topics":["b"]}`, []string{"b"}, true},
	{`{"topics":[]}`, []string{}, true},
	{`{"topics":[""]}`, []string{""}, true},
	{`{"topics":null}`, nil, false},
	{`{"topics":"a"}`, nil, false},
	{`{"topics":["a",1]}`, nil, false},
	{`{"topics":[["a"]]}`, nil, false},
	{`{"topics":{"a":"b"}}`, nil, false},
	{`{"Topics":["a"]}`, nil, false},
	{`{}`, nil, false},
	{`[]`, nil, false},
	{`"topics"`, nil, false},
	{` null`, nil, false},
}

func TestTopicNames(t *testing.T) {
	for _, tc := range topicBodies {
		names, ok := topicNames(nil, []byte(tc.payload))
		got := make([]string, len(names))
		for i, n := range names {
			got[i] = string(n)
		}
		if ok != tc.ok || !slices.Equal(got, tc.topics) {
			t.Errorf("%s: %q, %v", tc.payload, got, ok)
		}
	}
}

func FuzzTopicNames(f *testing.F) {
	for _, tc := range topicBodies {
		f.Add([]byte(tc.payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if !json.Valid(payload) || !utf8.Valid(payload) {
			return
		}
		var body map[string]json.RawMessage
		var want []*string
		wanted := json.Unmarshal(payload, &body) == nil && json.Unmarshal(body["topics"], &want) == nil && want != nil && !slices.Contains(want, nil)
		names, ok := topicNames(nil, payload)
		if ok != wanted {
			if bytes.Count(payload, []byte("topics")) > 1 {
				return // of two, encoding/json looks at the last, and here both must be right
			}
			t.Fatalf("%q: %v", payload, ok)
		}
		for i := range names {
			if ok && string(names[i]) != *want[i] {
				t.Fatalf("%q: %q, want %q", payload, names[i], *want[i])
			}
		}
	})
}
