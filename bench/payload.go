package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	payloadSize = 600
	numberLen   = 12
)

// tail ends every payload: its number, by which the receiver checks it off. What wraps a
// payload ends in nothing but braces after it.
const tail = `","seq":"%0*d"}`

var padding = strings.Repeat("x", payloadSize-len(`{"text":"`)-len(`","seq":""}`)-numberLen)

// payload is a JSON object of 600 bytes.
func payload(number int) []byte {
	return fmt.Appendf(make([]byte, 0, payloadSize), `{"text":"%s`+tail, padding, numberLen, number)
}

var errNumber = errors.New("a body arrived that does not end with a payload")

// numberOf is the number of a payload, from the end of whatever wraps it.
func numberOf(body []byte) (number int, err error) {
	body = bytes.TrimRight(body, "}")
	if len(body) < numberLen+1 || body[len(body)-1] != '"' {
		return 0, errNumber
	}
	for _, c := range body[len(body)-1-numberLen : len(body)-1] {
		if c < '0' || c > '9' {
			return 0, errNumber
		}
		number = 10*number + int(c-'0')
	}
	return number, nil
}
