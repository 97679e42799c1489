package unlearn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Info is what there is to know about a method before choosing it.
type Info struct {
	About   string // what it does
	Good    string // what it is good for, and where it is not
	Cost    string // in samples; n_f, n_r: samples to forget and to keep, n their sum
	Source  string // paper and code
	Recipe  string // published optimizer settings; "": it takes no steps
	Options []Option
}

// An Option is a field of a method that can be set by name.
type Option struct {
	Name    string
	Default string // the published value
	About   string
	Set     func(value string) error
}

// String is the recipe in words.
func (r recipe) String() string {
	var b strings.Builder
	o := r.optimizer
	fmt.Fprintf(&b, "%s", o.Kind)
	if o.Momentum != 0 {
		fmt.Fprintf(&b, ", momentum %g", o.Momentum)
	}
	fmt.Fprintf(&b, ", weight decay %g, rate %g, batch %d", o.WeightDecay, r.rate, r.batch)
	if r.epochs > 0 {
		fmt.Fprintf(&b, ", %d epochs", r.epochs)
	}
	if r.steps != nil {
		fmt.Fprintf(&b, ", a tenth of the rate from epochs %v on", r.steps)
		return b.String()
	}
	return b.String() + ", cosine to 0"
}

func number(name string, field *float64, def float64, about string) Option {
	return Option{name, fmt.Sprintf("%g", def), about, func(value string) error {
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || x-x != 0 {
			return fmt.Errorf("want a number")
		}
		if x == 0 && def != 0 {
			return fmt.Errorf("0 stands for the default, %g; choose a number near 0", def)
		}
		*field = x
		return nil
	}}
}

func integer(name string, field *int, def int, about string) Option {
	return Option{name, strconv.Itoa(def), about, func(value string) error {
		i, err := strconv.Atoi(value)
		if err != nil || i < 0 {
			return fmt.Errorf("want a whole number, not negative")
		}
		*field = i
		return nil
	}}
}

// choiceOfEpochs is integer with the word none for -1.
func choiceOfEpochs(name string, field *int, def int, about string) Option {
	o := integer(name, field, def, about)
	count := o.Set
	o.Set = func(value string) error {
		if value == "none" {
			*field = -1
			return nil
		}
		return count(value)
	}
	return o
}

func integers(name string, field *[]int, about string) Option {
	return Option{name, "none", about, func(value string) error {
		list := []int{}
		for _, part := range strings.Split(value, ",") {
			i, err := strconv.Atoi(strings.TrimSpace(part))
			if err != nil {
				return fmt.Errorf("want whole numbers with commas between them")
			}
			list = append(list, i)
		}
		*field = list
		return nil
	}}
}

func flag(name string, field *bool, about string) Option {
	return Option{name, "false", about, func(value string) error {
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("want true or false")
		}
		*field = b
		return nil
	}}
}

func choice(name string, field *string, about string, values ...string) Option {
	return Option{name, values[0], about, func(value string) error {
		if !slices.Contains(values, value) {
			return fmt.Errorf("want one of %s", strings.Join(values, ", "))
		}
		*field = value
		return nil
	}}
}

// saliencyOption turns a share into a saliency.
func saliencyOption(field **Saliency) Option {
	return Option{"saliency", "1", "share of the parameters, those that matter most for the forgotten data, that may move", func(value string) error {
		var s Saliency
		if err := number("saliency", &s.Ratio, 1, "").Set(value); err != nil {
			return err
		}
		*field = &s
		return nil
	}}
}
