package engine

// Unhandled returns how many received bytes the handler had not taken at the end of the loop's last
// turn with the connection: the beginning of a packet, or input that is held back. A number that
// grows is a sign of life of which OnBytes is not told before the packet is whole.
func (c *Conn) Unhandled() int { return int(c.input) }
