package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
	"github.com/sluicenet/sluice/engine/server"
)

// cluster reads --cluster and what belongs to it.
func (cmd *settings) cluster() (c server.ClusterConfig, err error) {
	c = server.ClusterConfig{
		Name: cmd.ClusterName, Creds: cmd.ClusterCreds, NKey: cmd.ClusterNKey, CA: cmd.ClusterCA, Cert: cmd.ClusterCert,
		Key: cmd.ClusterKey, Replicas: cmd.ClusterReplicas, Address: cmd.ClusterAddress,
		HistoryTotal: int64(cmd.ClusterHistoryTotal), HistoryOnDisk: cmd.ClusterHistoryStorage == "file",
		HistoryWait: cmd.HistoryWait,
	}
	for _, text := range cmd.Cluster {
		for u := range strings.SplitSeq(text, ",") {
			c.URLs = append(c.URLs, strings.TrimSpace(u))
		}
	}
	if len(c.URLs) > 0 {
		return c, clusterFlag(c.Check())
	}
	alone := server.ClusterConfig{
		URLs: []string{"nats://localhost"}, Name: c.Name, Replicas: c.Replicas, HistoryTotal: c.HistoryTotal, HistoryWait: c.HistoryWait,
	}
	if err := clusterFlag(alone.Check()); err != nil {
		return server.ClusterConfig{}, err
	}
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"cluster-creds", c.Creds != ""}, {"cluster-nkey", c.NKey != ""}, {"cluster-ca", c.CA != ""},
		{"cluster-cert", c.Cert != ""}, {"cluster-key", c.Key != ""}, {"cluster-replicas", c.Replicas != 0},
		{"cluster-history-total", c.HistoryTotal != server.DefaultClusterHistoryTotal},
		{"cluster-history-storage", c.HistoryOnDisk}, {"history-wait", c.HistoryWait != server.DefaultHistoryWait},
		{"cluster-address", c.Address != ""}, {"cluster-name", c.Name != server.DefaultClusterName},
	} {
		if f.given {
			err = errors.Join(err, depends(wrong(f.name, "there is no --cluster that it could be for"), "cluster"))
		}
	}
	return server.ClusterConfig{}, err
}

// clusterFlag has an error of the cluster's settings be about the flag.
func clusterFlag(err error) error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, err := range list.Unwrap() {
			errs = append(errs, clusterFlag(err))
		}
		return errors.Join(errs...)
	}
	var e *server.ClusterSettingError
	if !errors.As(err, &e) {
		return err
	}
	flag := "cluster-" + strings.ToLower(e.Field)
	switch e.Field {
	case "URLs":
		flag = "cluster"
	case "HistoryTotal":
		flag = "cluster-history-total"
	case "HistoryWait":
		flag = "history-wait"
	}
	return wrong(flag, "%w", e.Err)
}

// clusterEnd has the error of a gateway that cannot be one of its cluster be the caller's fault: trying
// again would be of no use. It reports whether err is one.
func clusterEnd(in *inputs, err error) (error, bool) {
	var e *server.ClusterError
	if !errors.As(err, &e) {
		return err, false
	}
	flag := "cluster"
	if e.Taken() {
		flag = "server-id"
	}
	return usageError{in.locate(wrong(flag, "%w", e.Err))}, true
}

type clusterCmd struct {
	adminFlag
	jsonFlag
}

// Help implements kong.HelpProvider.
func (*clusterCmd) Help() string {
	return examples(
		"sluice cluster          # each gateway of the cluster: since when, and whether it is well",
		"sluice cluster --json") + readingCodes
}

// A clusterNode is a gateway of the cluster as the API lists it.
type clusterNode struct {
	ServerID int       `json:"serverId"`
	Address  string    `json:"address"`
	Version  string    `json:"version"`
	Since    time.Time `json:"since"`
	Workers  []int     `json:"workers"`
	Self     bool      `json:"self"`
	Suspect  bool      `json:"suspect"`
	OtherKey bool      `json:"otherSessionKey"`
	Rules    bool      `json:"otherHistory"`
}

func (v *clusterNode) cells() []string {
	workers := make([]string, len(v.Workers))
	for i, id := range v.Workers {
		workers[i] = strconv.Itoa(id)
	}
	return []string{
		strconv.Itoa(v.ServerID), v.Address, v.Version, age(v.Since), strings.Join(workers, ","),
		marks("this-one", v.Self, "suspect", v.Suspect, "other-session-key", v.OtherKey, "other-history", v.Rules),
	}
}

// Run lists the gateways of the cluster.
func (cmd *clusterCmd) Run(s *streams) error { return named("cluster", cmd.run(s)) }

func (cmd *clusterCmd) run(s *streams) error {
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	body, err := c.Get(context.Background(), "cluster", nil)
	if err != nil {
		return err
	}
	var answer struct {
		Ready  bool              `json:"ready"`
		Status []string          `json:"status"`
		Nodes  []json.RawMessage `json:"nodes"`
	}
	if err := decodeAnswer(body, &answer); err != nil {
		return err
	}
	var t table.Table
	t.Columns(">SERVER-ID", "ADDRESS", "VERSION", ">AGE", "WORKERS", "NOTES")
	for _, row := range answer.Nodes {
		if cmd.JSON {
			if err := printJSON(s.stdout, row); err != nil {
				return err
			}
			continue
		}
		var v clusterNode
		if err := decodeAnswer(row, &v); err != nil {
			return err
		}
		t.Row(v.cells()...)
	}
	if !answer.Ready && len(answer.Status) > 0 {
		fmt.Fprintln(s.stderr, "sluice: this gateway is not one of the cluster:", answer.Status[0])
	}
	if cmd.JSON {
		return nil
	}
	if err := t.Write(s.stdout); err != nil {
		return err
	}
	for _, line := range answer.Status {
		if strings.HasPrefix(line, "history: ") {
			if _, err := fmt.Fprintln(s.stdout, line); err != nil {
				return err
			}
		}
	}
	return nil
}
