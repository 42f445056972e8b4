// Package proxyproto is the PROXY protocol, versions 1 and 2: the header with which a proxy says whose
// connection it relays, ahead of everything else.
//
// # Wire format
//
// Version 1 is a line of at most 107 bytes:
//
//	PROXY TCP4 192.0.2.1 198.51.100.1 56324 7000\r\n
//	PROXY TCP6 2001:db8::1 2001:db8::2 56324 7000\r\n
//	PROXY UNKNOWN ...\r\n
//
// Version 2 is binary, its numbers are big-endian:
//
//	offset  size
//	     0    12  signature 0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a
//	    12     1  version 2 in the high nibble, command in the low one
//	    13     1  address family in the high nibble, transport in the low one
//	    14     2  length of what follows
//	    16   12, 36 or 216  source and destination: IPv4, IPv6 (addresses, then ports), or unix paths
//	     -     -  TLVs: type 1, length 2, value
//
// # Data flow
//
//	bytes -> Length -> how long the header is, as soon as that can be told
//	      -> Decode -> Header, and how many bytes it took
//	Header -> Append -> bytes to send
//
// The package is not one of those that wrap a net.Conn, because the gateway has none: its loops lend
// out the bytes that have arrived, which are read where they are. Length tells a loop how many more it
// has to wait for, so that a header in many pieces is not looked at again and again.
//
// # What is refused
//
// Everything that the specification does not allow. What it has receivers ignore is skipped: the
// rest of an UNKNOWN line, the family and addresses of a LOCAL command, addresses of no family,
// TLVs of any type but two. A checksum (CRC32C) must be right where there is one, and a unique id
// no longer than 128 bytes.
//
// # Ownership
//
// A Header's paths and TLVs point into what was decoded. Append extends dst as the append built-in
// does.
//
// # Goroutines
//
// None; functions may be called from any.
package proxyproto
