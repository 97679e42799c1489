package onnx

import (
	"fmt"
	"strings"
)

// FormatError says what is wrong with a model: a file that is broken, or a
// value that cannot be written as a valid file.
type FormatError struct {
	File    string // empty when not read from a file
	Path    string // field in error, such as `graph.initializer[3] "fc.weight"`
	Problem string
}

// Error implements error.
func (e *FormatError) Error() string { return message(e.File, e.Path, e.Problem) }

// UnsupportedError says what this package cannot do with a valid model.
type UnsupportedError struct {
	File    string
	Path    string
	Problem string
}

// Error implements error.
func (e *UnsupportedError) Error() string { return message(e.File, e.Path, e.Problem) }

func message(parts ...string) string {
	s := "onnx"
	for _, p := range parts {
		if p != "" {
			s += ": " + p
		}
	}
	return s
}

func formatErrorf(format string, args ...any) error {
	return &FormatError{Problem: fmt.Sprintf(format, args...)}
}

func unsupportedf(format string, args ...any) error {
	return &UnsupportedError{Problem: fmt.Sprintf(format, args...)}
}

// at puts the name of the enclosing field before the path of err.
func at(err error, field string) error {
	switch e := err.(type) {
	case *FormatError:
		e.Path = joinPath(field, e.Path)
	case *UnsupportedError:
		e.Path = joinPath(field, e.Path)
	}
	return err
}

// inFile says which file err is about.
func inFile(err error, name string) error {
	switch e := err.(type) {
	case *FormatError:
		e.File = name
	case *UnsupportedError:
		e.File = name
	}
	return err
}

func joinPath(outer, inner string) string {
	if inner == "" {
		return outer
	}
	return outer + "." + inner
}

// element is the path of a list's element: `node[3] "conv1"`.
func element(field string, i int, name string) string {
	s := fmt.Sprintf("%s[%d]", field, i)
	if name != "" {
		s += fmt.Sprintf(" %q", shorten(name))
	}
	return s
}

// shorten keeps an error message readable whatever a file calls its values.
func shorten(name string) string {
	const limit = 200
	if len(name) <= limit {
		return name
	}
	return strings.ToValidUTF8(name[:limit], "") + "..."
}
