package doctor

import (
	"fmt"
	"strings"
)

// What the flags open to others.

// flagErrors says that serve would not start, or what it would warn of.
func (e *exam) flagErrors() (list []Finding) {
	for _, text := range e.Warnings {
		list = append(list, is(Warning, text, "sluice serve warns of it, too", "")...)
	}
	switch {
	case e.FlagsErr != nil:
		for line := range strings.Lines(e.FlagsErr.Error()) {
			list = append(list, is(Error, strings.TrimSpace(line), "sluice serve would not start", "sluice check   # with the same flags, says it again")...)
		}
		return list
	case e.Flags == nil:
		return is(Note, "no flags are known", "whether they go together was not looked at",
			"sluice doctor --config FILE   # or with the flags of sluice serve; or with a gateway that runs")
	}
	if list == nil {
		return fine("from %s", e.FlagsFrom)
	}
	return list
}

// openLogin looks for a gateway that lets everybody in from everywhere.
func (e *exam) openLogin() []Finding {
	if e.Flags == nil {
		return nil
	}
	kind, _, _ := strings.Cut(e.Flags.text("login"), ":")
	if kind == "" && e.Flags.on("dev") {
		kind = "open"
	}
	public := e.Flags.public()
	switch {
	case kind == "open" && len(public) > 0:
		return is(Error, "login is open, and other machines reach "+urls(public),
			"whoever connects is whoever he says he is: he may take over any user's connection and session",
			"--login tokens:FILE   # or otp, jwt:..., http:URL, cert", "--listen tcp://127.0.0.1:7000   # if it is for this machine only")
	case e.Flags.on("dev") && len(public) > 0:
		return is(Warning, "--dev is on, and other machines reach "+urls(public),
			"anybody who logs in may call the development routes, which answer whatever they are sent and publish to any topic", "remove --dev")
	case kind == "":
		return nil // which serve refuses
	}
	return fine("%s", kind)
}

// guests looks for listeners where strangers are netsvr's customers, whatever --login says of others.
func (e *exam) guests() []Finding {
	if e.Flags == nil {
		return nil
	}
	var open []listener
	for _, l := range e.Flags.public() {
		certified := l.secure && e.Flags.text("tls-client-ca") != "" && l.clientCert != "optional" && l.clientCert != "none"
		if (l.protocol == "" || l.protocol == "auto" || l.protocol == "netsvr") && !certified {
			open = append(open, l)
		}
	}
	if e.Flags.text("netsvr-login") == "required" || len(open) == 0 {
		return fine("nobody comes from another machine as a guest")
	}
	fixes := []string{"--netsvr-login required   # netsvr's customers show a token then, ?token="}
	for _, l := range open {
		if l.protocol != "netsvr" {
			fixes = append(fixes, "--listen '"+l.pinned("gosoc")+"'   # or longbridge: where no customer of netsvr's is to come")
		}
	}
	return is(Warning, "anybody may connect to "+urls(open)+" as a guest, without a login",
		"--login is not asked about netsvr's customers: whoever connects at --netsvr-path sends messages to workers", fixes...)
}

// clientTLS looks for tokens that cross a network in the clear.
func (e *exam) clientTLS() []Finding {
	var plain, behind []listener
	for _, l := range e.Flags.public() {
		switch {
		case l.secure:
		case l.proxy || len(e.Flags.list("forwarded-trust")) > 0:
			behind = append(behind, l)
		default:
			plain = append(plain, l)
		}
	}
	switch {
	case len(plain) > 0:
		return is(Warning, "other machines reach "+urls(plain)+", without TLS",
			"tokens, session tickets and messages can be read and changed on the way",
			"--listen tls://... --tls-cert FILE --tls-key FILE   # wss:// in place of ws://; or --tls-auto HOST --tls-auto-cache DIR",
			"--listen tcp://127.0.0.1:7000?proxy=on --proxy-trust 127.0.0.1   # if a proxy of this machine ends TLS")
	case len(behind) > 0:
		return is(Note, urls(behind)+" is without TLS, behind a proxy",
			"between the proxy and the gateway everything can be read: that network must be yours alone", "")
	case e.Flags == nil:
		return nil
	}
	return fine("no client comes over a network without TLS")
}

// workerPort looks at who may be a worker, which is whoever may do everything with clients.
func (e *exam) workerPort() []Finding {
	l, ok := e.Flags.workers()
	if !ok {
		return nil
	}
	token, allow, certs := e.Flags.text("worker-token"), e.Flags.list("worker-allow"), e.Flags.text("worker-client-ca")
	for _, text := range allow {
		if everybody(text) && l.public {
			return is(Error, fmt.Sprintf("--worker-allow %s: everybody who reaches %s is a worker", text, l.url),
				"a worker sends to every client, reads what they send and takes their names", "--worker-token FILE   # in place of --worker-allow "+text)
		}
	}
	switch {
	case !l.public:
		return fine("workers come from this machine alone, %s", l.url)
	case token == "" && len(allow) == 0 && certs == "":
		return is(Error, "other machines reach --worker "+l.url+", and nothing says who is a worker",
			"a worker sends to every client, reads what they send and takes their names",
			"--worker-token FILE   # a file of secrets, one a line", "--worker tcp://127.0.0.1:6061   # if workers are on this machine")
	case !l.secure && token != "":
		return is(Warning, "other machines reach --worker "+l.url+", without TLS",
			"the workers' token and all that they send can be read on the way", "--worker "+strings.Replace(l.url, "tcp:", "tls:", 1)+" --tls-cert FILE --tls-key FILE")
	case !l.secure:
		return is(Warning, "other machines reach --worker "+l.url+", without TLS",
			"all that workers send and get can be read and changed on the way", "--worker "+strings.Replace(l.url, "tcp:", "tls:", 1)+" --tls-cert FILE --tls-key FILE")
	}
	return fine("workers show who they are, over TLS")
}

// adminPort looks at who may ask, and whether others can read along.
func (e *exam) adminPort() []Finding {
	l, ok := e.Flags.operators()
	if !ok {
		if e.Flags == nil {
			return nil
		}
		return is(Note, "operators are not served (--admin none)", "nobody can look into the gateway, not even Prometheus",
			"--admin unix:///run/sluice/admin   # a socket that only its owner may use")
	}
	tokens := e.Flags.text("admin-token") != "" || e.Flags.text("api-key") != "" || e.Flags.text("api-key-file") != ""
	switch {
	case l.public && !tokens:
		return is(Error, "other machines reach --admin "+l.url+", and there is no token",
			"anybody may count on /livez and /readyz and see the page; you may do no more than that",
			"--admin-token FILE   # lines \"read TOKEN\" and \"full TOKEN\"", "--admin 127.0.0.1:6070")
	case l.public && !l.secure:
		return is(Warning, "other machines reach --admin "+l.url+", without TLS",
			"an operator's token can be read on the way, and whoever has it may do everything",
			"--admin https://"+strings.TrimPrefix(l.url, "http://")+" --tls-cert FILE --tls-key FILE", "--admin 127.0.0.1:6070")
	case !tokens && e.Flags.on("dev"):
		return fine("everybody on this machine may do everything, as --dev has it")
	case !tokens:
		return is(Note, "there is no operator's token", "nobody may see metrics, connections and closes, or change anything",
			"--admin-token FILE   # lines \"read TOKEN\" and \"full TOKEN\"")
	}
	return fine("%s, with tokens", l.url)
}

// proxyTrust looks for proxies that everybody can be.
func (e *exam) proxyTrust() (list []Finding) {
	for _, name := range []string{"proxy-trust", "forwarded-trust"} {
		for _, text := range e.Flags.list(name) {
			if everybody(text) {
				list = append(list, is(Error, fmt.Sprintf("--%s %s trusts everybody", name, text),
					"whoever connects says from which address he comes: limits, bans and logs of addresses mean nothing",
					fmt.Sprintf("--%s 10.0.0.7   # the proxies' own addresses or network", name))...)
			}
		}
	}
	if list == nil && len(e.Flags.list("forwarded-trust")) > 0 && e.Flags.text("forwarded-header") == "any" {
		return is(Note, "--forwarded-header any reads whichever header there is",
			"the one that your proxies do not write comes from the client as it likes", "--forwarded-header x-forwarded-for   # or forwarded: the one that they write")
	}
	return list
}

// abuseLimits looks for limits that were turned off where everybody may come.
func (e *exam) abuseLimits() []Finding {
	public := e.Flags.public()
	if len(public) == 0 {
		return nil
	}
	var off, fix []string
	for _, l := range []struct{ name, safe string }{
		{"max-connections-per-address", "auto"},
		{"connect-rate-per-address", "auto"},
		{"login-failures", "100/10s"},
		{"login-timeout", "10s"},
		{"packet-timeout", "60s"},
	} {
		switch e.Flags.text(l.name) {
		case "-1", "0", "0s", "none", "off": // autoLimit has -1 for none
			off, fix = append(off, "--"+l.name), append(fix, "--"+l.name+" "+l.safe)
		}
	}
	if off == nil {
		return fine("addresses have their limits")
	}
	s, why := Warning, "one address may use up what others need"
	if len(e.Flags.list("forwarded-trust"))+len(e.Flags.list("proxy-trust")) > 0 {
		s, why = Note, "behind a proxy that bounds clients itself it may be right; else one address may use up what others need"
	}
	return is(s, "off: "+strings.Join(off, ", ")+", while other machines reach "+urls(public), why, fix...)
}
