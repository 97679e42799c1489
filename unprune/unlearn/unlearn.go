package unlearn

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/unprune/unprune/unprune"
)

// A Method is an unlearner of this package: it describes itself.
type Method interface {
	unprune.Unlearner

	// Info describes the method. Its options set the fields of the receiver.
	Info() Info
}

// All returns every method, fresh, with its published defaults.
func All() []Method {
	return []Method{
		&Retrain{}, &FineTune{}, &GradientAscent{}, &NegGradPlus{}, &RandomLabel{}, &SalUn{}, &L1Sparse{},
		&Fisher{}, &FisherNew{}, &Influence{}, &Certified{}, &SCRUB{}, &SFRon{}, &SSD{}, &BadTeacher{},
	}
}

// ByName returns the unlearner of that name with its published defaults.
func ByName(name string) (unprune.Unlearner, error) { return New(name, nil) }

// New returns the unlearner of that name with options set by name.
func New(name string, options map[string]string) (unprune.Unlearner, error) {
	var names []string
	for _, m := range All() {
		if m.Name() == name {
			return m, set(m, options)
		}
		names = append(names, m.Name())
	}
	return nil, fmt.Errorf("unlearn: no unlearner is named %q; there are: %s", name, strings.Join(names, ", "))
}

// set sets options in the order of their names.
func set(m Method, options map[string]string) error {
	known := m.Info().Options
	for _, name := range slices.Sorted(maps.Keys(options)) {
		i := slices.IndexFunc(known, func(o Option) bool { return o.Name == name })
		if i < 0 {
			return fmt.Errorf("unlearn: %s has no option %q; there are: %s", m.Name(), name, strings.Join(optionNames(known), ", "))
		}
		if err := known[i].Set(options[name]); err != nil {
			return fmt.Errorf("unlearn: %s: option %s=%s: %w", m.Name(), name, options[name], err)
		}
	}
	return nil
}

func optionNames(options []Option) []string {
	if len(options) == 0 {
		return []string{"none"}
	}
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.Name
	}
	return names
}
