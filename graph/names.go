package graph

import (
	"regexp"
	"strings"
)

// MatchName reports whether a pattern names a value: * stands for any
// characters, ? for one. Names hold slashes and brackets, which mean nothing.
func MatchName(pattern, name string) bool {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, ".*"), `\?`, ".")
	return regexp.MustCompile("^" + quoted + "$").MatchString(name)
}
