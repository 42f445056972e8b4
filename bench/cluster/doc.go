// Package clustertest runs gateways and NATS servers together: the connections of a node with a server
// in this process, and gateways as processes of their own.
package clustertest
