/*
 * sender: what the kernel charges for fan-out, and nothing else.
 *
 * It knows just enough of GOSOC to serve the same load generator: Connect is answered, a request with a reply level
 * subscribes its connection, and what a request without one publishes goes to every subscriber: one send() per
 * connection and message, in one frame that is made once. There is one topic.
 *
 * Each thread has an epoll set and its share of the connections. The thread that reads a publication posts it to
 * the others, one eventfd write each unless they are awake. A full socket is waited for: nothing is lost, and a publisher that
 * is too fast is not read.
 *
 *	sender PORT THREADS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MAX_THREADS = 64,
	MAX_PACKET = 16 << 20,
	READ_SIZE = 64 << 10,
	INBOX_LIMIT = 4 << 20, /* bytes; one frame always fits */
	BATCH = 256,
	STALL_MS = 5000,
};

struct conn {
	int fd;
	int sub; /* place in thread.subs, -1: none */
	size_t have, cap;
	unsigned char *rest; /* of a packet that is not whole */
};

struct sub {
	int fd; /* a copy, so that fan-out reads nothing but this array */
	struct conn *c;
};

struct frame {
	struct frame *next;
	size_t len;
	unsigned char bytes[];
};

struct thread {
	int epfd, wake;
	struct sub *subs;
	size_t nsubs, capsubs;

	pthread_mutex_t lock; /* of what follows */
	struct frame *first, **last;
	size_t bytes;
};

static struct thread threads[MAX_THREADS];
static int nthreads, listener;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *grow(void *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		die("realloc");
	return p;
}

/* send_all sends b whole, waiting while the socket is full. */
static int send_all(int fd, const unsigned char *b, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, b, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0) {
			b += sent;
			n -= sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		if (errno != EAGAIN || poll(&p, 1, STALL_MS) <= 0)
			return -1;
	}
	return 0;
}

static void deliver(struct thread *t, const unsigned char *b, size_t n)
{
	for (size_t i = 0; i < t->nsubs; i++)
		if (send_all(t->subs[i].fd, b, n) < 0)
			shutdown(t->subs[i].fd, SHUT_RDWR); /* its own event closes it */
}

/* drain delivers what other threads have posted. */
static void drain(struct thread *t)
{
	pthread_mutex_lock(&t->lock);
	struct frame *f = t->first;
	t->first = NULL;
	t->last = &t->first;
	t->bytes = 0;
	pthread_mutex_unlock(&t->lock);
	while (f) {
		struct frame *next = f->next;
		deliver(t, f->bytes, f->len);
		free(f);
		f = next;
	}
}

/* post hands b to another thread; while that one is behind it does own work, so that two cannot wait for each other. */
static void post(struct thread *self, struct thread *to, const unsigned char *b, size_t n)
{
	struct frame *f = grow(NULL, sizeof *f + n);
	f->next = NULL;
	f->len = n;
	memcpy(f->bytes, b, n);
	pthread_mutex_lock(&to->lock);
	while (to->bytes > 0 && to->bytes + n > INBOX_LIMIT) {
		pthread_mutex_unlock(&to->lock);
		drain(self);
		usleep(50);
		pthread_mutex_lock(&to->lock);
	}
	int empty = to->first == NULL;
	*to->last = f;
	to->last = &f->next;
	to->bytes += n;
	pthread_mutex_unlock(&to->lock);
	uint64_t one = 1;
	if (empty && write(to->wake, &one, sizeof one) < 0 && errno != EAGAIN)
		die("eventfd");
}

/* varint reads a length; its size in bytes, 0: not whole, -1: malformed. */
static int varint(const unsigned char *b, size_t n, size_t *v)
{
	*v = 0;
	for (int i = 0; i < 4; i++) {
		if ((size_t)i >= n)
			return 0;
		*v |= (size_t)(b[i] & 0x7f) << (7 * i);
		if (b[i] < 0x80)
			return i + 1;
	}
	return -1;
}

static size_t put_varint(unsigned char *b, size_t v)
{
	size_t n = 0;
	for (; v >= 0x80; v >>= 7)
		b[n++] = v | 0x80;
	b[n++] = v;
	return n;
}

/* publish makes the push of {"topic":"...","data":X}, which holds X, and sends it to everybody. */
static int publish(struct thread *t, const unsigned char *json, size_t n)
{
	static const char mark[] = "\"data\":", route[] = "\0\0\4push";
	unsigned char *data = memmem(json, n, mark, sizeof mark - 1);
	if (!data)
		return -1;
	data += sizeof mark - 1;
	size_t len = json + n - 1 - data; /* without the closing brace */
	unsigned char length[4];
	size_t nlength = put_varint(length, len);

	static __thread unsigned char *push;
	static __thread size_t cap;
	if (cap < len + 32)
		push = grow(push, cap = len + 32);
	size_t at = 0;
	push[at++] = 0x60;
	at += put_varint(push + at, sizeof route - 1 + nlength + len);
	memcpy(push + at, route, sizeof route - 1);
	at += sizeof route - 1;
	memcpy(push + at, length, nlength);
	at += nlength;
	memcpy(push + at, data, len);
	at += len;
	for (int i = 0; i < nthreads; i++)
		if (&threads[i] != t)
			post(t, &threads[i], push, at);
	deliver(t, push, at);
	return 0;
}

static int subscribe(struct thread *t, struct conn *c, const unsigned char *id)
{
	static const char ok[] = "{\"status\":0,\"data\":{}}";
	unsigned char reply[64] = {0x70, 2 + 1 + sizeof ok - 1, id[0], id[1], sizeof ok - 1};
	memcpy(reply + 5, ok, sizeof ok - 1);
	if (c->sub < 0) {
		if (t->nsubs == t->capsubs)
			t->subs = grow(t->subs, (t->capsubs = t->capsubs * 2 + 64) * sizeof *t->subs);
		c->sub = t->nsubs;
		t->subs[t->nsubs++] = (struct sub){c->fd, c};
	}
	return send_all(c->fd, reply, 5 + sizeof ok - 1);
}

/* handle serves one packet; below 0 the connection is to be closed. */
static int handle(struct thread *t, struct conn *c, unsigned char first, const unsigned char *b, size_t n)
{
	size_t len;
	switch (first >> 4) {
	case 1: /* Connect */
		return send_all(c->fd, (const unsigned char *)"\x20\2\0\0", 4);
	case 3: /* PingReq */
		return send_all(c->fd, (const unsigned char *)"\x40\0", 2);
	case 6: /* SendReq: id, route, payload */
		if (n < 2)
			return -1;
		if (first & 0x06)
			return subscribe(t, c, b);
		b += 2;
		n -= 2;
		for (int field = 0; field < 2; field++) {
			int size = varint(b, n, &len);
			if (size <= 0 || n - size < len)
				return -1;
			if (field == 1)
				return publish(t, b + size, len);
			b += size + len;
			n -= size + len;
		}
	}
	return -1;
}

/* packets serves all whole packets of b and returns how many bytes they take, below 0: close. */
static ssize_t packets(struct thread *t, struct conn *c, const unsigned char *b, size_t n)
{
	size_t used = 0, len;
	while (n - used >= 2) {
		int size = varint(b + used + 1, n - used - 1, &len);
		if (size < 0 || len > MAX_PACKET)
			return -1;
		if (size == 0 || n - used - 1 - size < len)
			break;
		if (handle(t, c, b[used], b + used + 1 + size, len) < 0)
			return -1;
		used += 1 + size + len;
	}
	return used;
}

static void close_conn(struct thread *t, struct conn *c)
{
	if (c->sub >= 0) {
		struct sub moved = t->subs[--t->nsubs];
		t->subs[c->sub] = moved;
		moved.c->sub = c->sub;
	}
	close(c->fd);
	free(c->rest);
	free(c);
}

static int readable(struct thread *t, struct conn *c)
{
	static __thread unsigned char buf[READ_SIZE];
	ssize_t n = read(c->fd, buf, sizeof buf), used;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -1;
	const unsigned char *b = buf;
	if (c->have > 0) {
		if (c->cap < c->have + n)
			c->rest = grow(c->rest, c->cap = c->have + n);
		memcpy(c->rest + c->have, buf, n);
		b = c->rest;
		n += c->have;
	}
	if ((used = packets(t, c, b, n)) < 0)
		return -1;
	c->have = n - used;
	if (c->have > c->cap)
		c->rest = grow(c->rest, c->cap = c->have);
	if (c->have > 0)
		memmove(c->rest, b + used, c->have);
	return 0;
}

static void *run(void *arg)
{
	struct thread *t = arg;
	struct epoll_event events[BATCH];
	for (;;) {
		int n = epoll_wait(t->epfd, events, BATCH, -1);
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			if (!c) {
				uint64_t count;
				if (read(t->wake, &count, sizeof count) > 0)
					drain(t);
			} else if (readable(t, c) < 0) {
				close_conn(t, c);
			}
		}
	}
	return NULL;
}

static void accept_all(void)
{
	int one = 1;
	for (unsigned turn = 0;; turn++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			usleep(1000);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		struct conn *c = grow(NULL, sizeof *c);
		*c = (struct conn){.fd = fd, .sub = -1};
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
		if (epoll_ctl(threads[turn % nthreads].epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
			die("epoll_ctl");
	}
}

int main(int argc, char **argv)
{
	if (argc != 3 || (nthreads = atoi(argv[2])) < 1 || nthreads > MAX_THREADS) {
		fprintf(stderr, "usage: sender PORT THREADS\n");
		return 2;
	}
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int one = 1;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(listener, 4096) < 0)
		die("listen");
	for (int i = 0; i < nthreads; i++) {
		struct thread *t = &threads[i];
		pthread_mutex_init(&t->lock, NULL);
		t->last = &t->first;
		t->epfd = epoll_create1(EPOLL_CLOEXEC);
		t->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		struct epoll_event ev = {.events = EPOLLIN};
		if (t->epfd < 0 || t->wake < 0 || epoll_ctl(t->epfd, EPOLL_CTL_ADD, t->wake, &ev) < 0)
			die("epoll");
		pthread_t id;
		if (pthread_create(&id, NULL, run, t) != 0)
			die("pthread_create");
	}
	accept_all();
}
