package main

import "time"

// settings are what serve, check and config can be told: as flags, by variables of the environment and
// in a file. These tags say all that there is to say of each:
//
//	default, enum, help, placeholder  as kong has them
//	table   of a group, or of a field that stands in another: the table of the file
//	cut     of a group: what its flags' names begin with, and its keys do not; the table's name and a
//	        hyphen unless it is given
//	key     the key in the table, where it is not what cut leaves of the flag's name
//	env     the variable, where it is not SLUICE_ and the flag's name
//	live    a reload changes it
//	secret  its value is not shown
//
// docs/flags.md lists them; its test says how it is made again.
type settings struct {
	Config string `help:"Read settings from a TOML file." placeholder:"FILE"`
	Dev    bool   `help:"Open login unless --login says otherwise, an in-process worker with the sluice.* routes, and login tokens for everybody unless there is an API key."`

	addressFlags    `group:"Addresses" table:"client"`
	operatorFlags   `group:"Operators" table:"admin"`
	proxyFlags      `group:"Proxies" table:"proxy"`
	tlsFlags        `group:"TLS" table:"tls"`
	handshakeFlags  `group:"TLS" table:"tls"`
	loginFlags      `group:"Logins" table:"login"`
	sessionFlags    `group:"Sessions" table:"session"`
	historyFlags    `group:"History" table:"history"`
	clusterFlags    `group:"Cluster" table:"cluster"`
	limitFlags      `group:"Limits" table:"limits"`
	slowFlags       `group:"Memory and slow clients" table:"memory"`
	workerFlags     `group:"Workers" table:"worker"`
	webSocketFlags  `group:"WebSocket" table:"websocket" cut:"ws-"`
	gosocFlags      `group:"GOSOC" table:"gosoc"`
	netsvrFlags     `group:"netsvr" table:"netsvr"`
	longbridgeFlags `group:"Longbridge" table:"longbridge"`
	processFlags    `group:"Process" table:"process"`
	logFlags        `group:"Log" table:"log"`
	seeingFlags     `group:"Access log and traces" table:"trace"`
	removedFlags

	budget  budget   `kong:"-"` // of --memory; see plan
	shared  []string `kong:"-"` // the flags whose values are made of it
	inForce struct { // what is as it was read, and is not read again
		certificates, workerTokens bool
	} `kong:"-"`
}

type addressFlags struct {
	Listen       []string      `help:"Serve clients here: tcp://HOST:PORT, or tls, ws or wss in place of tcp, with ?protocol=auto|gosoc|longbridge|netsvr, ?tls=auto for plain connections and TLS on one port, ?client-cert=required|optional|none, and ?proxy=on behind proxies that send the PROXY header; unix:///PATH or ws+unix:///PATH, with ?mode=0660 and ?owner=USER:GROUP; fd://NAME for sockets that systemd hands over, by FileDescriptorName= or number, with tls+, ws+ or wss+ before it; repeatable." default:"tcp://127.0.0.1:7000" sep:"none"`
	Worker       string        `help:"Serve workers here, tcp://HOST:PORT, tls://HOST:PORT, or unix:///PATH with ?mode= and ?owner=, or fd://NAME or tls+fd://NAME as in --listen; ?proxy=on: behind proxies of --proxy-trust; none: nowhere." default:"tcp://127.0.0.1:6061" table:"worker" key:"listen"`
	Admin        string        `help:"Serve operators here, HOST:PORT, https://HOST:PORT, unix:///PATH with ?mode= and ?owner=, or fd://NAME or https+fd://NAME as in --listen; none: nowhere." default:"127.0.0.1:6070" table:"admin" key:"listen" env:"SLUICE_ADMIN_LISTEN"`
	CloseTimeout time.Duration `help:"How long a connection that is closed may take to read its last bytes and to close its side. At most half of --drain counts." default:"2s" live:""`
	PortsFile    string        `help:"Write the real addresses to a file, as JSON." placeholder:"FILE" table:"process"`
}

type operatorFlags struct {
	MaxAdminConnections int `help:"Most connections of operators; over it the longest idle one goes. 0: 64, or a sixteenth of the open-file limit if that is less." default:"0" key:"max-connections"`
	keyFlags
	AdminToken string        `help:"File of operators' tokens, lines \"read TOKEN\" or \"full TOKEN\": read for metrics and the reading part of the API, full for everything. Without one the API key is for everything; without either operators see /livez and /readyz only, except on loopback with --dev. Read again on SIGHUP." placeholder:"FILE"`
	TokenUsers string        `help:"File of API keys with which users call for one-time tokens themselves, as the Longbridge vendor's SDKs do: lines \"key user\", or \"key user secret\" if calls must be signed. Read again on SIGHUP." placeholder:"FILE"`
	TokenSkew  time.Duration `help:"How far the clock of a caller may be off whose calls must be signed." default:"5m"`
}

type proxyFlags struct {
	ProxyTrust      []string      `help:"Network or address of proxies that may connect to listeners with ?proxy=on, and say with a PROXY header who the client or worker is; repeatable. On unix sockets all may, with the word unix here or without." placeholder:"CIDR" sep:"none" live:""`
	ProxyTimeout    time.Duration `help:"How long the PROXY header may take." default:"5s" live:""`
	ForwardedTrust  []string      `help:"Network or address of HTTP proxies whose Forwarded or X-Forwarded-For says who a WebSocket client is, or unix for those on unix sockets; repeatable. From others it says nothing." placeholder:"CIDR" sep:"none" live:""`
	ForwardedHeader string        `help:"Which header they say it in: any (X-Forwarded-For where there is one, else Forwarded), x-forwarded-for or forwarded. Name the one that your proxies write: the other comes from the client as it likes." enum:"any,x-forwarded-for,forwarded" default:"any"`
}

type handshakeFlags struct {
	TLSHandshakeTimeout time.Duration `name:"tls-handshake-timeout" help:"How long a TLS handshake may take, from the connection's beginning." default:"10s" live:""`
	MaxHandshakes       int           `help:"Most TLS handshakes under way, no more than fit into --backlog-total; of one address (IPv4, or IPv6 /64) a quarter. Further ones wait, and addresses take turns. Each costs some 32 KiB." default:"8192" live:""`
	GosocTLSRecords     string        `name:"gosoc-tls-records" help:"What a TLS record to a GOSOC client holds: ${enum}. packet: one packet each, since the published C++ client looks at the socket and not at what its TLS library has read already; run: what is sent together." enum:"packet, run" default:"packet" table:"gosoc" key:"tls-records"`
}

type tlsFlags struct {
	TLSCert          []string `name:"tls-cert" help:"File of a certificate and its intermediates, PEM; repeatable, each with its --tls-key. The client's server name (SNI) chooses; the first is for the rest. Files that change are read again within seconds, and on SIGHUP." placeholder:"FILE" sep:"none" live:""`
	TLSKey           []string `name:"tls-key" help:"File of the key of the --tls-cert in the same place, PEM, without a passphrase; repeatable." placeholder:"FILE" sep:"none" live:""`
	TLSMin           string   `name:"tls-min" help:"Least version of TLS: ${enum}." enum:"1.2, 1.3" default:"1.2" live:""`
	TLSClientCA      string   `name:"tls-client-ca" help:"File of authorities, PEM, from which clients' certificates must come: on all TLS listeners but those with ?client-cert=optional or none. Read again when it changes, and on SIGHUP." placeholder:"FILE"`
	TLSAuto          []string `name:"tls-auto" help:"Host whose certificate an ACME service makes (tls-alpn-01); port 443 of it must lead to a TLS listener for clients. Repeatable. To use it is to accept the service's terms." placeholder:"HOST" sep:"none"`
	TLSAutoCache     string   `name:"tls-auto-cache" help:"Directory of the certificates so made, and of the account's key. Required with --tls-auto." placeholder:"DIR"`
	TLSAutoEmail     string   `name:"tls-auto-email" help:"Where the service may write to." placeholder:"ADDRESS"`
	TLSAutoDirectory string   `name:"tls-auto-directory" help:"The service's directory. Default: Let's Encrypt's." placeholder:"URL"`
}

type loginFlags struct {
	Login            string        `help:"Who may connect: open, tokens:FILE, otp, jwt:..., http:URL; see go doc ./engine/login Parse. Required unless --dev." placeholder:"KIND" key:"provider"`
	LoginTimeout     time.Duration `help:"How long a client may take to log in." default:"10s" live:""`
	LoginFailures    failureRate   `help:"Refused logins per address and time; over it, its further logins are refused unread for as long, but for those that prove themselves: a resumption ticket, a signed or one-time token, one that was good here before. 0: no limit." default:"100/10s" live:""`
	MaxLoginBytes    byteSize      `help:"What a client may send before its login is decided, the login included." default:"64KiB" key:"max-bytes"`
	LoginBanMax      time.Duration `help:"Longest time for which an address is banned: each time twice as long as the time before, from that of --login-failures on. One ban is forgotten for each time as long as it was." default:"10m" live:""`
	UserFailures     failureRate   `help:"Refused logins per user and time, from any addresses, where the login provider says whose they are; over it, each further one bans its address at once. The user's own token stays good. 0: no limit." default:"20/1m" live:""`
	MaxLogins        int           `help:"Logins that an HTTP service is asked about at once; of one address (IPv4, or IPv6 /64) a quarter. Further ones wait, and addresses take turns." default:"256" live:""`
	MaxTokenLogins   int           `help:"Logins with one token that may be under way or waiting; further ones are refused for now. 0: no limit." default:"8" live:""`
	MaxLoginMetadata byteSize      `help:"What a client may say of itself at its login, beside its token, and what the login may vouch for, each: the text, and 64 bytes for each pair." default:"8KiB" key:"max-metadata" live:""`
}

type sessionFlags struct {
	ServerID           int           `help:"First byte of every uniqId, 0 to 255." default:"0"`
	SessionTTL         time.Duration `help:"How long a session can be resumed." default:"30m"`
	SessionMax         time.Duration `help:"How long it can be resumed again and again, counted from the login. 0: without end." default:"24h"`
	Revoke             string        `help:"Connections of a login that ends (exp of a JWT, expires of an HTTP login) or is taken back (its token is not in the file any more): close or keep. Their sessions cannot be resumed in any case." enum:"close,keep" default:"close" live:""`
	SessionBytes       byteSize      `help:"Session text and topics kept of one session while it waits for its client; of one with more only the user is." default:"64KiB"`
	MaxSessionText     byteSize      `help:"Longest session text that a worker may give a client." default:"64KiB" key:"max-text" live:""`
	SessionFrom        string        `help:"What the session text of a client is that logs in without one, for workers that know nothing of users: ${enum}." enum:"none, user" default:"none" live:""`
	MaxSessions        int           `help:"Sessions remembered; over it the one goes that expires first of those that wait for their client." default:"1048576"`
	MaxSessionsPerUser int           `help:"Sessions of one user that wait for their client; when one more does, the one goes that has waited longest. 0: any number." default:"64" live:""`
	SessionTotal       byteSize      `help:"Session text and topics kept of all such sessions; over it, those of the oldest go." default:"64MiB"`
	SessionKey         string        `help:"File with the key of session tickets, made at the first start. Without it sessions end with the process." placeholder:"FILE"`
	SessionJournal     string        `help:"File, made at the first start, in which used-up tickets and ended sessions stay refused across restarts. Wants --session-key; each gateway has its own." placeholder:"FILE"`
}

type historyFlags struct {
	History          []string      `help:"Topics that keep their last messages, PATTERN=COUNT,AGE as room.*=1000,5m: COUNT of them, each for AGE at most. A pattern is a name, or a beginning and one * at the end; the first that matches counts, and COUNT 0 rules its topics out. Clients that resume get what they missed. Repeatable." placeholder:"RULE" sep:"none" key:"topics" live:""`
	HistoryTotal     byteSize      `help:"Bytes kept of all topics' messages; over it the oldest go." default:"256MiB" live:""`
	HistoryWait      time.Duration `help:"With --cluster, how long a message to a topic with history may wait until NATS has it, before its publisher is told that it has not: 1s to 5m. NATS takes up to 9s to elect a leader." default:"10s" key:"wait"`
	HistoryMaxTopics int           `help:"Most topics that have history at a time, also those that keep nothing and are remembered for --session-ttl, of which the oldest goes for a new one. When all keep something, a new topic has no history for now. 0: one for each KiB of --history-total, 1024 at least." default:"0" key:"max-topics" live:""`
	GapCmd           int           `help:"Command to Longbridge clients of the push that says that messages they missed are gone for good. GOSOC's route is sluice.Gap." default:"101"`
}

type clusterFlags struct {
	Cluster         []string `help:"NATS servers that make several gateways behave as one: nats://HOST:PORT, or tls in place of nats, with commas between them; repeatable. Each gateway needs a --server-id of its own." placeholder:"URL" sep:"none" key:"servers"`
	ClusterName     string   `help:"The cluster's name: 1 to 32 of a-z, 0-9 and -. Gateways of one name belong together." default:"default"`
	ClusterAddress  string   `help:"What the other gateways, and operators, are told of where this one is. Default: the host's name, and where clients are served." placeholder:"TEXT"`
	ClusterCreds    string   `help:"File of NATS credentials: a JWT and its seed. Read at each connection." placeholder:"FILE"`
	ClusterNKey     string   `name:"cluster-nkey" help:"File of the seed of an NKey, in place of credentials. Read at each connection." placeholder:"FILE"`
	ClusterCA       string   `name:"cluster-ca" help:"File of authorities, PEM, that the NATS servers' certificates come from. Default: the system's. Read at each connection." placeholder:"FILE"`
	ClusterCert     string   `help:"File of the gateway's own certificate, PEM, for NATS servers that want one. Read at each connection." placeholder:"FILE"`
	ClusterKey      string   `help:"File of its key, PEM." placeholder:"FILE"`
	ClusterReplicas int      `help:"How many NATS servers keep the leases of server ids, and the messages of topics with history, if their buckets and stream have to be made. 0: 3 where the servers are a cluster, else 1." default:"0"`

	ClusterHistoryTotal   byteSize `help:"Bytes that NATS keeps of topics with --history, if their stream has to be made; over it the oldest go. Of these --history-total are at hand in the gateway. 1MiB or more." default:"256MiB"`
	ClusterHistoryStorage string   `help:"Where NATS keeps them, if their stream has to be made: ${enum}." enum:"memory, file" default:"memory"`
}

type slowFlags struct {
	Memory       memorySize    `help:"Bytes that the process may use, 64MiB or more: the limits below that are in proportion to it, and --session-total, --history-total, --worker-queue and --worker-delayed, unless they are given; with 1GiB they are as they are without it. Near it the gateway sheds in stages. auto: three quarters of the container's limit, if it has one; that makes no limit larger. off: nothing is shed." default:"auto" placeholder:"SIZE" key:"size"`
	Backlog      byteSize      `help:"Unsent bytes of its own a client may have before the slow-consumer policy." default:"1MiB" live:""`
	Lag          byteSize      `help:"Unsent bytes of published messages, shared with other subscribers, a client may be behind before the policy." default:"16MiB" live:""`
	LagAge       time.Duration `help:"How old the oldest of them may be before the policy. 0: any age." default:"0s" live:""`
	SlowConsumer string        `help:"The policy for pushes to clients over one of these: ${enum}. Replies are never dropped." enum:"close, drop-newest, drop-oldest" default:"close"`
	BacklogTotal byteSize      `help:"Bytes kept for all clients, of all kinds, before those with the largest accounts are closed." default:"256MiB" live:""`
	SendBuffer   byteSize      `help:"Socket send buffer (SO_SNDBUF)." default:"256KiB"`
}

type limitFlags struct {
	MaxConnections           int       `help:"Most clients at a time. 0, and at most: what the open-file limit leaves beside workers, operators, refusals, and 64 files and 8 a loop of the gateway's own." default:"0" live:""`
	MaxConnectionsPerAddress autoLimit `help:"Most clients of one address (IPv4, or IPv6 /64) at a time. auto: 1000 on listeners that other machines reach, any number on those of a loopback address. 0: no limit." default:"auto" live:""`
	ConnectRate              int       `help:"New connections a second, and at once, of all addresses; more are refused. 0: any number." default:"0" live:""`
	ConnectRatePerAddress    autoLimit `help:"New connections a second, and at once, of one address; more are refused. auto: 100 on listeners that other machines reach, any number on those of a loopback address. 0: no limit." default:"auto" live:""`
	MaxRefusals              int       `help:"Most connections over these limits which are kept for up to a second to be told so; of one address a quarter. 0: 128, or a sixteenth of the open-file limit if that is less." default:"0"`

	MaxPacket       byteSize      `help:"Longest packet a client may announce." default:"16MiB"`
	MaxInflated     byteSize      `help:"Longest payload or attachment after gzip." default:"4MiB" live:""`
	MaxInflateRate  byteSize      `help:"Bytes a second that may come out of gzip and compressed WebSocket messages for one client, and at once; with more it is not read for a while. 0: no limit." default:"8MiB" live:""`
	MaxGzipMembers  int           `help:"Gzip members that a payload or attachment may have." default:"1024" live:""`
	MaxPacketRate   int           `help:"Packets, or WebSocket frames, of one client a second, and at once; with more it is not read for a while. 0: any number." default:"0" live:""`
	MaxByteRate     byteSize      `help:"Bytes of one client a second, and at once; with more it is not read for a while. 0: any number." default:"0" live:""`
	PacketTimeout   time.Duration `help:"How long a packet may take from its first byte to its last, unless 1 KiB of it comes each second. 0: no limit." default:"60s" live:""`
	RequestTimeout  time.Duration `help:"How long a request waits for its reply, unless its client says how long it waits. Clients in the field give up after 10s." default:"9s" live:""`
	WaitWorkers     time.Duration `help:"How long a request waits for a worker of its id to register before it is answered that there is none. 0: not at all, as with --worker none and no --cluster." default:"3s" live:""`
	MaxPending      int           `help:"Requests of one client that may wait for their reply before it is not read for a while." default:"1024" live:""`
	MaxPendingBytes byteSize      `help:"The same in bytes, with the replies that wait for their turn." default:"1MiB" live:""`
	MaxRequestRate  int           `help:"Requests, and netsvr messages, of one client a second, and at once; more are refused. 0: any number." default:"0" live:""`
	MaxTopics       int           `help:"Topics that one client may subscribe to." default:"65536" live:""`
	MaxTopicName    byteSize      `help:"Longest name of a topic." default:"1KiB" live:""`
	MaxTopicsTotal  int           `help:"Topics of all clients together." default:"1048576" live:""`
	MaxTopicBytes   byteSize      `help:"Bytes that they may take: their names, and 160 for each." default:"8MiB" live:""`
}

type workerFlags struct {
	Route              []string      `help:"Worker id for requests of a route or command, as chat.*=1 or cmd:6-20=2; repeatable. Others go to 1." placeholder:"PATTERN=ID" sep:"none" live:""`
	RouteIgnoreCase    bool          `help:"Match routes without regard to the case of letters."`
	Limit              []string      `help:"Messages a second to worker ids, as two-five=2-5@100000; repeatable." placeholder:"NAME=IDS@RATE" sep:"none" live:""`
	OpenWorker         int           `help:"Worker id that is told of clients that connect; while nobody has it, netsvr customers are closed (no-worker). 0: none." default:"0"`
	CloseWorker        int           `help:"Worker id that is told of clients that leave. 0: none." default:"0"`
	WorkerToken        string        `help:"File of secrets, one a line, # before comments: a worker must show one of them when it registers, unless --worker-allow has its address. Read again on SIGHUP." placeholder:"FILE" live:""`
	WorkerAllow        []string      `help:"Network or address whose workers need no token, or unix for those on unix sockets; repeatable. Others are refused if there is no --worker-token. None given: loopback and unix if there is no --worker-token, else none." placeholder:"CIDR" sep:"none" live:""`
	WorkerTokenTimeout time.Duration `help:"How long a worker that needs a token may take to show it." default:"10s" live:""`
	WorkerUnproven     int           `help:"Connections of one address (IPv4, or IPv6 /64) that may be there without having shown their token." default:"32" live:""`
	WorkerClientCA     string        `name:"worker-client-ca" help:"File of authorities, PEM, from which workers' certificates must come, beside their token if there is a --worker-token; wants --worker tls://... Read again when it changes, and on SIGHUP." placeholder:"FILE"`
	WorkerIdle         time.Duration `help:"How long a worker may be silent." default:"120s" live:""`
	WorkerFirstByte    time.Duration `help:"How long a worker may take to send anything at all. At most --worker-idle counts." default:"60s" live:""`
	WorkerWriteTimeout time.Duration `help:"How long a write to a worker may take." default:"10s" live:""`
	WorkerMaxPacket    byteSize      `help:"Longest frame body a worker may send, and so the most that is kept of one that is not whole." default:"2MiB" live:""`
	WorkerFrameRate    int           `help:"Frames a worker connection may send a second, and at once; with more it is not read for a while. 0: any number." default:"0" live:""`
	WorkerByteRate     byteSize      `help:"The same in bytes. 0: any number." default:"0" live:""`
	WorkerQueue        byteSize      `help:"Bytes that may wait for a worker. A client may have no more of them than stay free." default:"16MiB"`
	WorkerDelayed      byteSize      `help:"Bytes of delayed messages that may wait per worker connection; four times as many in all." default:"16MiB"`
	MaxWorkerLinks     int           `help:"Most connections of workers; over it one goes that has sent nothing. 0: 4096, or an eighth of the open-file limit if that is less." default:"0" live:"" key:"max-links"`
	NetsvrMetrics      string        `help:"Metrics workers may ask for: numbers from 0 to 6, or none." default:"0-6"`
}

type webSocketFlags struct {
	AllowOrigin    []string `help:"Host whose pages may connect, on every path, with its subdomains; repeatable. None: all." placeholder:"HOST" sep:"none" live:""`
	WSSubprotocol  []string `name:"ws-subprotocol" help:"Sub-protocol to choose when a client offers it; repeatable." placeholder:"NAME" sep:"none"`
	Probe          bool     `help:"Answer a GET or HEAD that asks for no upgrade with 200, and 503 in a shutdown, for load balancers; otherwise with 426."`
	WSDeflate      bool     `name:"ws-deflate" help:"Offer compression (permessage-deflate) to GOSOC and Longbridge clients; netsvr has --netsvr-deflate." default:"true" negatable:""`
	WSDeflateMin   byteSize `name:"ws-deflate-min" help:"Shortest message that is sent compressed." default:"128"`
	WSMaxHead      byteSize `name:"ws-max-head" help:"Longest head of an upgrade request, 1KiB to 64KiB. A browser's cookies are in it." default:"32KiB"`
	WSMaxHeaders   int      `name:"ws-max-headers" help:"Lines that it may have." default:"128"`
	WSMaxFragments int      `name:"ws-max-fragments" help:"Frames that a message may have, besides one for every 32 bytes of it." default:"256"`
}

type gosocFlags struct {
	MaxKeepAlive  time.Duration `help:"Longest keep-alive of a GOSOC client, also of one that asks for none. 0: no limit." default:"20m"`
	PushRoute     string        `help:"Route of pushes to GOSOC clients." default:"push"`
	GosocBadToken int           `help:"ConnAck code for a refused token: 6, bad token, or 3, not authorized, at which the C++ client stops instead of trying again at once." default:"6"`
	GosocLogins   string        `help:"How many GOSOC connections a user may have: ${enum}. one: a new one closes the older." enum:"one, many" default:"one"`
}

type netsvrFlags struct {
	NetsvrPath        string        `help:"Path where netsvr customers connect." default:"/netsvr"`
	NetsvrLogin       string        `help:"Whether netsvr customers must log in, with ?token=: ${enum}." enum:"guest, required" default:"guest"`
	ClientIdle        time.Duration `help:"How long a netsvr customer may be silent." default:"120s"`
	ClientMaxMessage  byteSize      `help:"Longest netsvr message, behind its prefix." default:"2MiB"`
	GuestMaxFragments byteSize      `help:"Longest netsvr message that a guest may send in fragments. 0: --client-max-message." default:"256KiB"`
	NetsvrDeflate     bool          `help:"Offer compression (permessage-deflate) to netsvr customers."`
	PushOpcode        string        `help:"WebSocket messages that netsvr customers are pushed: ${enum}." enum:"text, binary" default:"text"`
	CustomIDKey       string        `help:"Query parameter by which netsvr customers choose their uniqId, with a token." placeholder:"NAME"`
	CustomIDTTL       time.Duration `name:"custom-id-ttl" help:"How long such a token is good." default:"30s"`
}

type longbridgeFlags struct {
	HeartbeatTimeout      time.Duration `help:"How long a Longbridge client may be silent." default:"150s"`
	UserLimit             int           `help:"Longbridge connections one user may have. 0: any number." default:"10" live:""`
	LongbridgeCloseNotice bool          `help:"Tell Longbridge clients why their connection ends. The vendor's Go client recovers best without." default:"true" negatable:""`
	LongbridgeGzip        byteSize      `help:"Size from which bodies to Longbridge clients are compressed, if that makes them shorter. 0: never." default:"0"`
	PushCmd               int           `help:"Command of pushes to Longbridge clients." default:"100"`
}

type processFlags struct {
	Loops        int           `help:"Event loops. 0: as many as GOMAXPROCS." default:"0"`
	Drain        time.Duration `help:"How long a shutdown may take." default:"5s" live:""`
	StallTimeout time.Duration `help:"How long an event loop may stand still before /livez and /readyz fail." default:"5s"`
}

type logFlags struct {
	LogLevel  logLevel `help:"Least level to log: debug, info, warn or error." default:"info" live:""`
	LogFormat string   `help:"How to log, on standard error: ${enum}." enum:"text, json" default:"text"`
}
