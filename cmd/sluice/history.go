package main

import (
	"errors"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// history reads --history and --history-total. What is returned beside an error leaves out the rules
// that it is about.
func (cmd *settings) history() (h engine.HistoryLimits, err error) {
	h.Total, h.Topics = int64(cmd.HistoryTotal), cmd.HistoryMaxTopics
	var errs []error
	for i, text := range cmd.History {
		r, err := topic.ParseRule(text)
		if err == nil {
			err = topic.CheckRules(append(h.Rules[:len(h.Rules):len(h.Rules)], r))
		}
		if err != nil {
			errs = append(errs, wrongAt("history", i, "%w", err))
			continue
		}
		h.Rules = append(h.Rules, r)
	}
	return h, errors.Join(errs...)
}
