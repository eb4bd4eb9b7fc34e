package signature_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/callbackd/callbackd/engine/signature"
)

// vector is the test vector that Standard Webhooks publishes. Its Metorial signature
// was made with openssl dgst -sha256 -hmac.
var vector = struct {
	secret, id, body, standard, metorial string
	at                                   int64
}{
	secret:   "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	id:       "msg_p5jXN8AQM9LWM0D4loKWxJek",
	at:       1614265330,
	body:     `{"test": 2432232314}`,
	standard: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	metorial: "t=1614265330,v1=2e37df5d4a028c51a7f3133d64ae1e300d2c2c900f1b1d49d4369ad2530f8964",
}

// signed is the vector as a receiver sees it.
func signed() http.Header {
	h := http.Header{}
	h.Set("webhook-id", vector.id)
	h.Set("webhook-timestamp", strconv.FormatInt(vector.at, 10))
	h.Set("webhook-signature", vector.standard)
	h.Set("metorial-signature", vector.metorial)
	return h
}

// options verify with these secrets, at the time of the vector.
func options(secrets ...string) signature.Options {
	return signature.Options{Secrets: secrets, Now: func() time.Time { return time.Unix(vector.at, 0) }}
}

func mustSigner(tb testing.TB, secrets ...string) *signature.Signer {
	tb.Helper()
	s, err := signature.NewSigner(secrets...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// schemes are the two ways to verify, for the rules that hold for both.
var schemes = map[string]struct {
	header string // the one that holds the signature
	verify func(http.Header, []byte, signature.Options) error
}{
	"Standard": {signature.HeaderSignature, signature.Verify},
	"Metorial": {signature.HeaderMetorial, signature.VerifyMetorial},
}

func TestNewSecret(t *testing.T) {
	t.Parallel()

	secret := signature.NewSecret()
	encoded, found := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil || len(key) != 32 {
		t.Errorf("NewSecret() = %q, want whsec_ and 32 bytes in base64", secret)
	}
	if secret == signature.NewSecret() {
		t.Error("two secrets are equal")
	}
}

func TestSigner(t *testing.T) {
	t.Parallel()

	t.Run("MakesThePublishedSignature", func(t *testing.T) {
		t.Parallel()
		got := http.Header{}
		got.Set("Webhook-Id", "of an earlier attempt")
		mustSigner(t, vector.secret).Sign(got, vector.id, time.Unix(vector.at, 999), []byte(vector.body))
		if want := signed(); !reflect.DeepEqual(got, want) {
			t.Errorf("signed with\n%v, want\n%v", got, want)
		}
	})

	t.Run("SignsWithEachSecret", func(t *testing.T) {
		t.Parallel()
		other := signature.NewSecret()
		at, body := time.Unix(vector.at, 0), []byte(vector.body)
		s := mustSigner(t, other, vector.secret)
		want := mustSigner(t, other).Standard(vector.id, at, body) + " " + vector.standard
		if got := s.Standard(vector.id, at, body); got != want {
			t.Errorf("Standard = %q, want %q", got, want)
		}
		if got, want := s.Metorial(at, body), mustSigner(t, other).Metorial(at, body); got != want {
			t.Errorf("Metorial = %q, want that of the first secret %q", got, want)
		}
	})

	t.Run("RefusesABadSecret", func(t *testing.T) {
		t.Parallel()
		for _, secrets := range [][]string{{}, {""}, {"whsec_"}, {"whsec_not base64"}, {vector.secret, ""}} {
			if _, err := signature.NewSigner(secrets...); !errors.Is(err, signature.ErrSecret) {
				t.Errorf("NewSigner(%q) = %v, want ErrSecret", secrets, err)
			}
		}
	})

	t.Run("SignsConcurrently", func(t *testing.T) {
		t.Parallel()
		s := mustSigner(t, vector.secret)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					if got := s.Standard(vector.id, time.Unix(vector.at, 0), []byte(vector.body)); got != vector.standard {
						t.Errorf("Standard = %q, want %q", got, vector.standard)
						return
					}
				}
			})
		}
		wg.Wait()
	})

	t.Run("SatisfiesTheReferenceVerifier", func(t *testing.T) {
		t.Parallel()
		secret, body, h := signature.NewSecret(), []byte(`{"a":"ü"}`), http.Header{}
		mustSigner(t, signature.NewSecret(), secret).Sign(h, "sdi_1", time.Now(), body)
		reference, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := reference.Verify(body, h); err != nil {
			t.Error(err)
		}
	})
}

func TestVerify(t *testing.T) {
	t.Parallel()

	for name, scheme := range schemes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := []byte(vector.body)
			check := func(t *testing.T, h http.Header, body []byte, o signature.Options, want error) {
				t.Helper()
				if err := scheme.verify(h, body, o); !errors.Is(err, want) {
					t.Errorf("verify = %v, want %v", err, want)
				}
			}

			t.Run("AcceptsTheVector", func(t *testing.T) {
				t.Parallel()
				check(t, signed(), body, options(vector.secret), nil)
			})

			t.Run("AcceptsAnyOfTheSecrets", func(t *testing.T) {
				t.Parallel()
				check(t, signed(), body, options(signature.NewSecret(), vector.secret), nil)
			})

			t.Run("AcceptsWhatTheSignerMadeJustNow", func(t *testing.T) {
				t.Parallel()
				h := http.Header{}
				mustSigner(t, vector.secret).Sign(h, "sdi_1", time.Now(), nil)
				check(t, h, nil, signature.Options{Secrets: []string{vector.secret}}, nil)
			})

			t.Run("RefusesAnotherBodyOrSecret", func(t *testing.T) {
				t.Parallel()
				check(t, signed(), nil, options(vector.secret), signature.ErrMismatch)
				check(t, signed(), []byte(vector.body+" "), options(vector.secret), signature.ErrMismatch)
				check(t, signed(), body, options(signature.NewSecret()), signature.ErrMismatch)
			})

			t.Run("RefusesAnUnsignedRequest", func(t *testing.T) {
				t.Parallel()
				check(t, http.Header{}, body, options(vector.secret), signature.ErrMissingHeader)
				h := signed()
				h.Del(scheme.header)
				check(t, h, body, options(vector.secret), signature.ErrMissingHeader)
			})

			t.Run("SaysThatASecretIsBad", func(t *testing.T) {
				t.Parallel()
				check(t, signed(), body, options(), signature.ErrSecret)
				check(t, signed(), body, options(""), signature.ErrSecret)
				check(t, signed(), body, options(vector.secret, ""), signature.ErrSecret)
			})

			t.Run("ComparesTheTimestampWithNow", func(t *testing.T) {
				t.Parallel()
				for _, tt := range []struct {
					tolerance, age time.Duration
					want           error
				}{
					{0, 5 * time.Minute, nil},
					{0, 5*time.Minute + 1, signature.ErrTimestamp},
					{0, -5 * time.Minute, nil},
					{0, -5*time.Minute - 1, signature.ErrTimestamp},
					{time.Second, time.Second, nil},
					{time.Second, 2 * time.Second, signature.ErrTimestamp},
					{time.Hour, -time.Hour, nil},
					{-1, 100 * 365 * 24 * time.Hour, nil},
					{-1, -100 * 365 * 24 * time.Hour, nil},
				} {
					o := options(vector.secret)
					o.Tolerance = tt.tolerance
					o.Now = func() time.Time { return time.Unix(vector.at, 0).Add(tt.age) }
					if err := scheme.verify(signed(), body, o); !errors.Is(err, tt.want) {
						t.Errorf("tolerance %v, age %v: verify = %v, want %v", tt.tolerance, tt.age, err, tt.want)
					}
				}
			})
		})
	}
}

func TestVerifyReadsStandardHeaders(t *testing.T) {
	t.Parallel()

	const other = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
	for _, tt := range []struct {
		name, header, value string
		want                error
	}{
		{"OneOfSeveralSignatures", "webhook-signature", other + " " + vector.standard + " v1a,AAAA", nil},
		{"NoneOfSeveralSignatures", "webhook-signature", other + " " + other, signature.ErrMismatch},
		{"SpacesAround", "webhook-signature", "  " + vector.standard + " ", nil},
		{"AnotherVersionOnly", "webhook-signature", "v2" + vector.standard[2:], signature.ErrMalformed},
		{"NoVersion", "webhook-signature", vector.standard[3:], signature.ErrMalformed},
		{"EmptySignature", "webhook-signature", "v1,", signature.ErrMismatch},
		{"ShortenedSignature", "webhook-signature", vector.standard[:len(vector.standard)-1], signature.ErrMismatch},
		{"AnotherID", "webhook-id", "msg_2", signature.ErrMismatch},
		{"NoID", "webhook-id", "", signature.ErrMissingHeader},
		{"AnotherTimestamp", "webhook-timestamp", "1614265331", signature.ErrMismatch},
		{"NoTimestamp", "webhook-timestamp", "", signature.ErrMissingHeader},
		{"PaddedTimestamp", "webhook-timestamp", "01614265330", signature.ErrMismatch},
		{"SignedTimestamp", "webhook-timestamp", "+1614265330", signature.ErrMalformed},
		{"NegativeTimestamp", "webhook-timestamp", "-1", signature.ErrMalformed},
		{"DateAsTimestamp", "webhook-timestamp", "2021-02-25T15:02:10Z", signature.ErrMalformed},
		{"HugeTimestamp", "webhook-timestamp", "9223372036854775807", signature.ErrTimestamp},
		{"OverflowingTimestamp", "webhook-timestamp", "9223372036854775808", signature.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := signed()
			h.Set(tt.header, tt.value)
			if err := signature.Verify(h, []byte(vector.body), options(vector.secret)); !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestVerifyReadsMetorialHeader(t *testing.T) {
	t.Parallel()

	timestamp, hexed, _ := strings.Cut(vector.metorial, ",v1=")
	for _, tt := range []struct {
		name, value string
		want        error
	}{
		{"AnyOrder", "v1=" + hexed + "," + timestamp, nil},
		{"SpacesAround", timestamp + ", v1=" + hexed, nil},
		{"UnknownFields", timestamp + ",v0=1,x,v1=" + hexed, nil},
		{"OneOfSeveralSignatures", timestamp + ",v1=00,v1=" + hexed, nil},
		{"AnotherTimestamp", "t=1614265331,v1=" + hexed, signature.ErrMismatch},
		{"UpperCase", timestamp + ",v1=" + strings.ToUpper(hexed), signature.ErrMismatch},
		{"EmptySignature", timestamp + ",v1=", signature.ErrMismatch},
		{"NoSignature", timestamp, signature.ErrMalformed},
		{"NoTimestamp", "v1=" + hexed, signature.ErrMalformed},
		{"TwoTimestamps", timestamp + "," + vector.metorial, signature.ErrMalformed},
		{"JunkTimestamp", "t=now,v1=" + hexed, signature.ErrMalformed},
		{"HugeTimestamp", "t=9223372036854775807,v1=" + hexed, signature.ErrTimestamp},
		{"Junk", "junk", signature.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := signed()
			h.Set("metorial-signature", tt.value)
			if err := signature.VerifyMetorial(h, []byte(vector.body), options(vector.secret)); !errors.Is(err, tt.want) {
				t.Errorf("VerifyMetorial = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestVerifyTakesAnySecretForMetorial(t *testing.T) {
	t.Parallel()

	// printf 1.x | openssl dgst -sha256 -hmac 'not base64!'
	h := http.Header{signature.HeaderMetorial: {"t=1,v1=e829339bf051db545aaf861a8ecc453f0f5d9bf0e7f22bd4c2a7d60237be670c"}}
	o := signature.Options{Secrets: []string{"not base64!"}, Tolerance: -1}
	if err := signature.VerifyMetorial(h, []byte("x"), o); err != nil {
		t.Error(err)
	}
}
