package httpapi

var (
	DecodeCursor = decodeCursor
	HalfPair     = halfPair
)

// Routes are the methods and paths of the API's table.
func Routes() []string {
	names := make([]string, len(routes))
	for i, rt := range routes {
		names[i] = rt.method + " " + rt.path
	}
	return names
}
