package outbound_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
)

// fakeResolver looks every name up in answer, without a packet: its name server is the
// other end of a pipe. No addresses mean that the name does not exist.
func fakeResolver(answer func() []netip.Addr) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go serveDNS(server, answer) // ends when the resolver closes its end
			return client, nil
		},
	}
}

// serveDNS speaks DNS over TCP (RFC 1035, 4.2.2), which the resolver does on anything
// that is no packet connection.
func serveDNS(conn net.Conn, answer func() []netip.Addr) {
	defer conn.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		reply := answerDNS(query, answer)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

func answerDNS(query []byte, answer func() []netip.Addr) []byte {
	const header, typeA = 12, 1
	end := header
	for query[end] != 0 { // the labels of the name
		end += 1 + int(query[end])
	}
	end += 1 + 2 + 2 // the root label, the type, the class
	var addrs []netip.Addr
	rcode := byte(0)
	if binary.BigEndian.Uint16(query[end-4:]) == typeA {
		if addrs = answer(); len(addrs) == 0 {
			rcode = 3 // NXDOMAIN
		}
	}
	reply := append([]byte{}, query[:2]...) // the query's id
	reply = append(reply, 0x81, 0x80|rcode) // a response, recursion desired and available
	reply = append(reply, 0, 1, 0, byte(len(addrs)), 0, 0, 0, 0)
	reply = append(reply, query[header:end]...)
	for _, a := range addrs {
		reply = append(reply, 0xc0, header, 0, typeA, 0, 1) // the name again, type, class IN
		reply = append(reply, 0, 0, 0, 0, 0, 4)             // not to be kept, 4 bytes
		reply = append(reply, a.AsSlice()...)
	}
	return reply
}
