package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

type statefulset = appsv1.StatefulSet

const manifests = "kubernetes/"

// manifest reads an object of packaging/kubernetes as the API server does: a field that it does not know
// is a mistake, and so is one that is there twice.
func manifest[T any](t *testing.T, file, apiVersion, kind string) (object T) {
	t.Helper()
	text := packaged(t, manifests+file)
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		t.Fatal(err)
	}
	if head.APIVersion != apiVersion || head.Kind != kind {
		t.Errorf("%s: %s %s, want %s %s", file, head.APIVersion, head.Kind, apiVersion, kind)
	}
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return object
}

func statefulSet(t *testing.T) statefulset {
	t.Helper()
	return manifest[statefulset](t, "statefulset.yaml", "apps/v1", "StatefulSet")
}

// A kustomization is what ours have.
type kustomization struct {
	APIVersion         string   `json:"apiVersion"`
	Kind               string   `json:"kind"`
	Resources          []string `json:"resources"`
	Images             []struct{ Name, NewName, NewTag string }
	ConfigMapGenerator []struct {
		Name    string
		Files   []string
		Options struct {
			DisableNameSuffixHash bool
			Labels                map[string]string
		}
	}
}

// TestManifests: they are what Kubernetes' own types take, agree with each other, and name each other.
func TestManifests(t *testing.T) {
	t.Parallel()
	k := manifest[kustomization](t, "kustomization.yaml", "kustomize.config.k8s.io/v1beta1", "Kustomization")
	files, err := os.ReadDir(filepath.Join(root, "packaging", manifests))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".yaml") && f.Name() != "kustomization.yaml" && !slices.Contains(k.Resources, f.Name()) {
			t.Errorf("kustomization.yaml leaves out %s", f.Name())
		}
	}
	set := statefulSet(t)
	pod := set.Spec.Template
	c := pod.Spec.Containers[0]
	if len(k.Images) != 1 || k.Images[0].Name != c.Image {
		t.Errorf("images %+v, the container's is %s", k.Images, c.Image)
	}
	if g := k.ConfigMapGenerator; len(g) != 1 || g[0].Name != pod.Spec.Volumes[0].ConfigMap.Name || !slices.Equal(g[0].Files, []string{"sluice.toml"}) {
		t.Errorf("config maps %+v, the pod has %+v", g, pod.Spec.Volumes[0])
	}
	isOurs := func(what string, selector map[string]string) {
		if len(selector) == 0 {
			t.Errorf("%s chooses everything", what)
		}
		for key, value := range selector {
			if pod.Labels[key] != value {
				t.Errorf("%s chooses %s=%s, pods have %q", what, key, value, pod.Labels[key])
			}
		}
	}
	ports := make(map[string]int32)
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	if want := map[string]int32{"clients": 7000, "workers": 6061, "operators": 6070}; !maps.Equal(ports, want) {
		t.Errorf("ports %v, want %v", ports, want)
	}
	isOurs("the StatefulSet", set.Spec.Selector.MatchLabels)
	for _, s := range pod.Spec.TopologySpreadConstraints {
		isOurs("topology", s.LabelSelector.MatchLabels)
	}
	clients := manifest[corev1.Service](t, "service.yaml", "v1", "Service")
	peers := manifest[corev1.Service](t, "service-pods.yaml", "v1", "Service")
	for _, s := range []corev1.Service{clients, peers} {
		isOurs("Service "+s.Name, s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			if ports[p.TargetPort.StrVal] != p.Port {
				t.Errorf("Service %s: port %d leads to %s", s.Name, p.Port, p.TargetPort.String())
			}
		}
	}
	if clients.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal || len(clients.Spec.Ports) != 1 {
		t.Errorf("clients' service: %+v", clients.Spec)
	}
	if peers.Name != set.Spec.ServiceName || peers.Spec.ClusterIP != corev1.ClusterIPNone || !peers.Spec.PublishNotReadyAddresses {
		t.Errorf("pods' service: %+v", peers.Spec)
	}
	budget := manifest[policyv1.PodDisruptionBudget](t, "poddisruptionbudget.yaml", "policy/v1", "PodDisruptionBudget")
	isOurs("the disruption budget", budget.Spec.Selector.MatchLabels)
	if budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("disruption budget: %+v", budget.Spec)
	}
	account := manifest[corev1.ServiceAccount](t, "serviceaccount.yaml", "v1", "ServiceAccount")
	if account.Name != pod.Spec.ServiceAccountName || *account.AutomountServiceAccountToken || *pod.Spec.AutomountServiceAccountToken {
		t.Errorf("service account: %+v", account)
	}
	checkNetwork(t, isOurs, ports)
}

// checkNetwork: whoever is not named reaches the clients' port only.
func checkNetwork(t *testing.T, isOurs func(string, map[string]string), ports map[string]int32) {
	t.Helper()
	n := manifest[networkingv1.NetworkPolicy](t, "networkpolicy.yaml", "networking.k8s.io/v1", "NetworkPolicy")
	isOurs("the network policy", n.Spec.PodSelector.MatchLabels)
	seen := make(map[string]bool)
	for _, rule := range n.Spec.Ingress {
		if len(rule.Ports) == 0 {
			t.Error("a rule without ports is for all of them")
		}
		for _, p := range rule.Ports {
			name := p.Port.StrVal
			seen[name] = true
			if _, ok := ports[name]; !ok {
				t.Errorf("network policy: port %s", p.Port)
			}
			if (name == "clients") != (len(rule.From) == 0) {
				t.Errorf("port %s is for %d kinds of pods", name, len(rule.From))
			}
		}
		for _, from := range rule.From {
			if from.PodSelector == nil || len(from.PodSelector.MatchLabels) == 0 {
				t.Errorf("a rule is for all pods: %+v", from)
			}
		}
	}
	if len(seen) != len(ports) || !slices.Equal(n.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) {
		t.Errorf("network policy: %v of %v, %v", seen, ports, n.Spec.PolicyTypes)
	}
}

// TestPodIsRestricted: the pod passes Kubernetes' own check of the level restricted, and writes nothing.
func TestPodIsRestricted(t *testing.T) {
	t.Parallel()
	e, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	violations := func(change func(*corev1.PodSpec)) (list []string) {
		set := statefulSet(t)
		change(&set.Spec.Template.Spec)
		level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		for _, r := range e.EvaluatePod(level, &set.Spec.Template.ObjectMeta, &set.Spec.Template.Spec) {
			if !r.Allowed {
				list = append(list, r.ForbiddenReason+": "+r.ForbiddenDetail)
			}
		}
		return list
	}
	for _, v := range violations(func(*corev1.PodSpec) {}) {
		t.Error(v)
	}
	for name, spoil := range map[string]func(*corev1.PodSpec){
		"root":        func(p *corev1.PodSpec) { p.SecurityContext.RunAsNonRoot = nil },
		"seccomp":     func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile = nil },
		"privileges":  func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil },
		"host":        func(p *corev1.PodSpec) { p.HostNetwork = true },
		"permissions": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.Capabilities = nil },
	} {
		if violations(spoil) == nil {
			t.Errorf("%s: nothing is wrong with it", name)
		}
	}
	spec := statefulSet(t).Spec.Template.Spec
	c := spec.Containers[0]
	if !*c.SecurityContext.ReadOnlyRootFilesystem || *spec.SecurityContext.RunAsUser != imageUser(t) {
		t.Errorf("security: %+v, %+v", c.SecurityContext, spec.SecurityContext)
	}
	for _, m := range c.VolumeMounts {
		if !m.ReadOnly {
			t.Errorf("%s can be written", m.MountPath)
		}
	}
	if r := c.Resources; !r.Limits.Memory().Equal(*r.Requests.Memory()) || r.Limits.Memory().IsZero() || !r.Limits.Cpu().IsZero() {
		t.Errorf("resources: %+v", r)
	}
}

// TestPodLives: the gateway of the manifest answers its probes without a token, and nothing else; it has
// the number of its pod; and the drain fits into the grace period.
func TestPodLives(t *testing.T) {
	t.Parallel()
	dir := secrets(t)
	set := statefulSet(t)
	spec := set.Spec.Template.Spec
	c := spec.Containers[0]
	config := localConfig(t, "kubernetes/sluice.toml", map[string]string{"/etc/sluice/secrets": dir})
	p := start(t, podArguments(t, set, config, "7")...)
	for name, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		get := probe.HTTPGet
		if get.Port.StrVal != "operators" || get.Scheme != "" || probe.PeriodSeconds == 0 {
			t.Errorf("%s: %+v", name, probe)
		}
		if status, body := p.ask(t, get.Path, ""); status != 200 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("probes: %s, %s", c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path)
	}
	for _, path := range []string{"/metrics", "/api/v1/stats", "/debug/pprof/"} {
		if status, _ := p.ask(t, path, ""); status != 401 {
			t.Errorf("%s without a token: %d", path, status)
		}
	}
	if status, _ := p.ask(t, "/metrics", scrapeToken(t, dir)); status != 200 {
		t.Errorf("/metrics with Prometheus' token: %d", status)
	}
	users, err := os.ReadFile(filepath.Join(dir, "users"))
	if err != nil {
		t.Fatal(err)
	}
	gosocClient(t, p.client, strings.Fields(string(users))[0])
	if _, list := p.ask(t, "/api/v1/connections", scrapeToken(t, dir)); !strings.Contains(list, `"uniqId":"07`) {
		t.Errorf("the pod's number is not in the uniqId: %s", list)
	}
	if mode := *spec.Volumes[1].Secret.DefaultMode; mode != 0o440 {
		t.Errorf("the secrets have mode %o", mode)
	}
	env := c.Env[0]
	if env.Name != "SLUICE_SERVER_ID" || env.ValueFrom.FieldRef.FieldPath != "metadata.labels['"+appsv1.PodIndexLabel+"']" {
		t.Errorf("environment: %+v", env)
	}
	grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
	sleep := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if drain := drainOf(t, "kubernetes/sluice.toml"); sleep < 5*time.Second || sleep+drain+margin > grace {
		t.Errorf("a sleep of %v, a drain of %v and %v do not fit into %v", sleep, drain, margin, grace)
	}
}

// TestPodMonitor: Prometheus' operator finds the pods, their port and its token, and calls the job as the
// alerts do.
func TestPodMonitor(t *testing.T) {
	t.Parallel()
	type podMonitor struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name   string
			Labels map[string]string
		} `json:"metadata"`
		Spec struct {
			JobLabel            string
			Selector            struct{ MatchLabels map[string]string }
			PodMetricsEndpoints []struct {
				Port, Path, Interval string
				Authorization        struct {
					Type        string
					Credentials struct{ Name, Key string }
				}
				Relabelings []struct {
					SourceLabels []string
					TargetLabel  string
				}
			}
		} `json:"spec"`
	}
	m := manifest[podMonitor](t, "prometheus-operator/podmonitor.yaml", "monitoring.coreos.com/v1", "PodMonitor")
	pod := statefulSet(t).Spec.Template
	if pod.Labels[m.Spec.JobLabel] != "sluice" || !maps.Equal(m.Spec.Selector.MatchLabels, pod.Labels) {
		t.Errorf("PodMonitor: %+v", m.Spec)
	}
	if e := m.Spec.PodMetricsEndpoints; len(e) != 1 || e[0].Port != "operators" || e[0].Authorization.Credentials.Name != "sluice-scrape" {
		t.Errorf("PodMonitor: %+v", e)
	}
}
