// Package notsent keeps short what waits in the kernel to be sent. There it is in the order in which
// it came, for nobody to overtake, and in no account: up to 4 MiB a connection on Linux. What the
// kernel does not take waits with whoever writes, who knows whose it is and how much there is.
package notsent
