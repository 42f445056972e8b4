// Package sdnotify tells the service manager how the process is, in the words of sd_notify(3).
//
// # Data flow
//
//	Notifier.Send -> one datagram -> the socket that $NOTIFY_SOCKET names
//
// A manager that wants to be told sets NOTIFY_SOCKET: a path, or @NAME in Linux's abstract namespace.
// Without it, and on a nil Notifier, nothing is sent. Each message is a datagram of its own from a
// socket of its own: a manager that starts anew, and binds its socket again, hears the next one.
//
// # Goroutines
//
// None. Any goroutine may call everything. Nothing waits for a manager that does not read for longer
// than Timeout.
package sdnotify
