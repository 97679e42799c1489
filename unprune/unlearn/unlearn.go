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

// With returns every method and those of one's own.
func With(own ...unprune.Unlearner) []unprune.Unlearner {
	var list []unprune.Unlearner
	for _, m := range All() {
		list = append(list, m)
	}
	return append(list, own...)
}

// New returns the unlearner of that name, of this package or one's own, with
// options set by name. One's own has options if it is a Method; they set the
// fields of the very value that was given.
func New(name string, options map[string]string, own ...unprune.Unlearner) (unprune.Unlearner, error) {
	var names []string
	for _, u := range With(own...) {
		if u.Name() == name {
			return u, set(u, options)
		}
		names = append(names, u.Name())
	}
	return nil, fmt.Errorf("unlearn: no unlearner is named %q; there are: %s", name, strings.Join(names, ", "))
}

// Describe is what an unlearner says of itself; nothing if it is no Method.
func Describe(u unprune.Unlearner) Info {
	if m, ok := u.(Method); ok {
		return m.Info()
	}
	return Info{}
}

// set sets options in the order of their names.
func set(m unprune.Unlearner, options map[string]string) error {
	known := Describe(m).Options
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
