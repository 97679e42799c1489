package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/unprune/unprune/unprune/unlearn"
)

// checkOwn refuses unlearners that could not be chosen.
func (a *app) checkOwn() error {
	var names []string
	for _, u := range unlearn.With(a.own...) {
		name := u.Name()
		if name == "" || name == "list" || slices.Contains(names, name) {
			return fmt.Errorf("unlearner %T is named %q: give it a name that is not taken (%s)", u, name, strings.Join(append(names, "list"), ", "))
		}
		names = append(names, name)
	}
	return nil
}

// unlearnerEntry explains one unlearner.
type unlearnerEntry struct {
	Name    string        `json:"name"`
	About   string        `json:"about"`
	Good    string        `json:"good_for"`
	Needs   string        `json:"needs"`
	Cost    string        `json:"cost"`
	Recipe  string        `json:"recipe,omitempty"`
	Source  string        `json:"source"`
	Options []optionEntry `json:"options,omitempty"`
}

type optionEntry struct {
	Name    string `json:"name"`
	Default string `json:"default"`
	About   string `json:"about"`
}

func (a *app) listUnlearners() error {
	var list []unlearnerEntry
	for _, u := range unlearn.With(a.own...) {
		i := unlearn.Describe(u)
		e := unlearnerEntry{u.Name(), i.About, i.Good, u.Needs().String(), i.Cost, i.Recipe, i.Source, nil}
		for _, o := range i.Options {
			e.Options = append(e.Options, optionEntry{o.Name, o.Default, o.About})
		}
		list = append(list, e)
	}
	return a.print(list, func(w io.Writer) {
		for i, e := range list {
			if i > 0 {
				fmt.Fprintln(w)
			}
			e.text(w)
		}
	})
}

func (e unlearnerEntry) text(w io.Writer) {
	fmt.Fprintf(w, "%s  %s\n", e.Name, e.About)
	table(w, func(w io.Writer) {
		row := func(what, text string) {
			for i, line := range wrap(text, 80) {
				if i > 0 {
					what = ""
				}
				fmt.Fprintf(w, "  %s\t%s\n", what, line)
			}
		}
		row("good for", e.Good)
		row("needs", e.Needs)
		row("costs", e.Cost)
		row("recipe", e.Recipe)
		row("source", e.Source)
		for _, o := range e.Options {
			row("option "+o.Name, o.About+" (default: "+o.Default+")")
		}
	})
}

// wrap breaks text between words into lines of at most width characters, if its
// words allow.
func wrap(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		last := len(lines) - 1
		if last >= 0 && len([]rune(lines[last]))+1+len([]rune(word)) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}
