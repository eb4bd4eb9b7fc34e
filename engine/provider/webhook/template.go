package webhook

import "regexp"

// part is a piece of what is signed: a text, or what a name stands for.
type part struct{ text, name string }

var placeholderRE = regexp.MustCompile(`\{(\w*)\}`)

// parseTemplate takes apart what scheme.signed says.
func parseTemplate(template string) (parts []part) {
	end := 0
	for _, m := range placeholderRE.FindAllStringSubmatchIndex(template, -1) {
		if m[0] > end {
			parts = append(parts, part{text: template[end:m[0]]})
		}
		name := template[m[2]:m[3]]
		if name == "" {
			name = "?" // {} is no name either
		}
		parts = append(parts, part{name: name})
		end = m[1]
	}
	if end < len(template) {
		parts = append(parts, part{text: template[end:]})
	}
	return parts
}

// besideID are the texts next to {id}, unless {timestamp} follows on the other side: its
// digits, which are near the present, leave no doubt where the id ends.
func besideID(parts []part) (texts []string) {
	at := func(i int) part {
		if i < 0 || i >= len(parts) {
			return part{}
		}
		return parts[i]
	}
	for i, p := range parts {
		if p.name != "id" {
			continue
		}
		for _, step := range []int{-1, 1} {
			if text := at(i + step).text; text != "" && at(i+2*step).name == "body" {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

// shiftable tells whether a digit that the body begins with could be the timestamp's last one as
// well, because nothing stands between: in seconds and in milliseconds, both could be near the
// present. A body before the timestamp is in no such doubt: the first digits would be others.
func shiftable(parts []part, body []byte) bool {
	for i, p := range parts {
		if p.name == "body" && i > 0 && parts[i-1].name == "timestamp" {
			return len(body) > 0 && '0' <= body[0] && body[0] <= '9'
		}
	}
	return false
}
