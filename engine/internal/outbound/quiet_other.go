//go:build !unix

package outbound

import (
	"net"
	"time"
)

// quiet tells whether nothing has come in on a connection that waits for a request: what
// would come is the server's hanging up, or an answer to no question.
func quiet(c net.Conn) bool {
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Microsecond)); err != nil {
		return false
	}
	n, err := c.Read(make([]byte, 1))
	timeout, ok := err.(net.Error)
	return n == 0 && ok && timeout.Timeout()
}
