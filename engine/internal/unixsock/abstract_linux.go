package unixsock

const abstractSockets = true
