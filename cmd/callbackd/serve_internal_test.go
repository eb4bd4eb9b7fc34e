package main

import (
	"net"
	"testing"
)

func TestLocalURLCanBeReached(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{"127.0.0.1": "http://127.0.0.1:8420", "0.0.0.0": "http://localhost:8420", "::": "http://localhost:8420", "::1": "http://[::1]:8420", "192.0.2.1": "http://192.0.2.1:8420"} {
		if got := localURL(&net.TCPAddr{IP: net.ParseIP(ip), Port: 8420}); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}
