package signature_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine/signature"
)

// A receiver reads the body once, verifies it, and only then looks inside.
func ExampleVerify() {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // from your configuration
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "cannot read the body", http.StatusBadRequest)
			return
		}
		err = signature.Verify(r.Header, body, signature.Options{
			Secrets: []string{secret},
			Now:     func() time.Time { return time.Unix(1614265335, 0) }, // leave out to use the real clock
		})
		if err != nil {
			http.Error(w, "bad signature", http.StatusUnauthorized)
			return
		}
		fmt.Printf("%s: %s\n", r.Header.Get(signature.HeaderID), body)
		w.WriteHeader(http.StatusNoContent)
	}

	r := httptest.NewRequest(http.MethodPost, "/webhooks", strings.NewReader(`{"test": 2432232314}`))
	r.Header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	r.Header.Set("webhook-timestamp", "1614265330")
	r.Header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	w := httptest.NewRecorder()
	handler(w, r)
	fmt.Println(w.Code)
	// Output:
	// msg_p5jXN8AQM9LWM0D4loKWxJek: {"test": 2432232314}
	// 204
}

// The Metorial scheme needs one header, and its secret can be any string.
func ExampleVerifyMetorial() {
	header := http.Header{}
	header.Set("Metorial-Signature", "t=1614265330,v1=2e37df5d4a028c51a7f3133d64ae1e300d2c2c900f1b1d49d4369ad2530f8964")
	err := signature.VerifyMetorial(header, []byte(`{"test": 2432232314}`), signature.Options{
		Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
		Now:     func() time.Time { return time.Unix(1614265335, 0) },
	})
	fmt.Println(err)
	// Output: <nil>
}

// A test of a receiver signs its own requests.
func ExampleSigner_Sign() {
	signer, err := signature.NewSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	body := `{"test": 2432232314}`
	r := httptest.NewRequest(http.MethodPost, "/webhooks", strings.NewReader(body))
	signer.Sign(r.Header, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(body))
	fmt.Println(r.Header.Get(signature.HeaderTimestamp))
	fmt.Println(r.Header.Get(signature.HeaderSignature))
	// Output:
	// 1614265330
	// v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
}

// While a secret is being replaced, each delivery is signed with both, and a receiver
// that holds either accepts it.
func ExampleNewSigner_rotation() {
	oldSecret, newSecret := signature.NewSecret(), signature.NewSecret()
	signer, err := signature.NewSigner(newSecret, oldSecret)
	if err != nil {
		fmt.Println(err)
		return
	}
	header, body := http.Header{}, []byte(`{"test": 2432232314}`)
	signer.Sign(header, "msg_1", time.Now(), body)
	fmt.Println(signature.Verify(header, body, signature.Options{Secrets: []string{oldSecret}}))
	fmt.Println(signature.Verify(header, body, signature.Options{Secrets: []string{newSecret}}))
	// Output:
	// <nil>
	// <nil>
}
