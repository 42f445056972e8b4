package clustertest

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// An administrator takes the replicas of the log and of the buckets away, and gives them back, while two
// gateways publish: each message that is confirmed arrives once, on all gateways in one order, sessions
// move as before, and gateways keep their server ids.
func TestReplicasEdited(t *testing.T) { // alone, since it keeps the machine busy
	long(t)
	servers := launchNATSCluster(t, 3)
	for _, storage := range []string{"memory", "file"} {
		t.Run(storage, func(t *testing.T) {
			list := serveBeside(t, servers, 3, append(rooms, "--cluster-history-storage", storage, "--cluster-name", storage,
				"--session-key", filepath.Join(t.TempDir(), "key"))...)
			_, js := administrate(t, servers.urls())
			d := perform(t, list, 2, 2*time.Millisecond)
			users := 0
			for _, replicas := range []int{1, 3} {
				for _, name := range []string{"SLUICE_" + storage + "_H", "KV_sluice_" + storage + "_sessions",
					"KV_sluice_" + storage + "_names", "KV_sluice_" + storage + "_nodes"} {
					stream, err := js.Stream(t.Context(), name)
					if err != nil {
						t.Fatal(err)
					}
					config := stream.CachedInfo().Config
					config.Replicas = replicas
					before := time.Now()
					if _, err := js.UpdateStream(t.Context(), config); err != nil {
						t.Fatalf("%s with %d replicas: %v", name, replicas, err)
					}
					users++
					user := fmt.Sprint("user-", users)
					c, ticket := list[users%3].begin(user)
					c.subscribe("news")
					servers.replicated(name, replicas)
					await(t, "the session to be written", func() bool {
						return list[users%3].metric("sluice_cluster_sessions_queued") == 0
					})
					moved, _ := list[(users+1)%3].comeBack(ticket)
					moved.is(user, "news")
					t.Logf("%s has %d replicas after %v", name, replicas, time.Since(before).Round(time.Millisecond))
				}
			}
			d.check(false)
			for _, g := range list {
				g.knows(3)
				if status, body := g.get("/readyz?verbose"); status != http.StatusOK || g.metric("sluice_cluster_lease_held") != 1 ||
					g.metric("sluice_cluster_names_away") != 0 {
					t.Errorf("gateway %d: %d %s", g.id, status, body)
				}
				t.Logf("gateway %d: %v sent again, %v twice, %v holes, %v failed renewals, %v times away with names", g.id,
					g.metric("sluice_cluster_history_again_total"), g.metric("sluice_cluster_history_twice_total"),
					g.metric("sluice_cluster_history_holes_total"), g.metric("sluice_cluster_lease_failures_total"),
					g.metric("sluice_cluster_names_aways_total"))
			}
			for _, g := range list {
				g.terminate()
			}
		})
	}
}
