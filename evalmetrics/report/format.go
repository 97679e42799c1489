package report

import (
	"fmt"
	"math"
	"strconv"
)

// dash stands for what was not measured.
const dash = "–"

// number formats x with the given verb; not a number and infinite are a dash.
func number(format string, x float64) string {
	if !finite(x) {
		return dash
	}
	return fmt.Sprintf(format, x)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func ratio(x float64) string   { return number("%.3f", x) }
func percent(x float64) string { return number("%.1f", x) }
func passes(x float64) string  { return number("%.1f", x) }

// nats formats a divergence: three decimals, or two digits if it is smaller.
func nats(x float64) string {
	if x > 0 && x < 0.01 {
		return number("%.2g", x)
	}
	return number("%.3f", x)
}

// difference formats an error of verification.
func difference(x float64) string {
	if x == 0 {
		return "0"
	}
	return number("%.1e", x)
}

// duration formats seconds.
func duration(s float64) string {
	switch {
	case !finite(s):
		return dash
	case s < 99.95:
		return fmt.Sprintf("%.1f s", s)
	case s < 5999.5:
		whole := int(s + 0.5)
		return fmt.Sprintf("%d min %02d s", whole/60, whole%60)
	}
	whole := int(s/60 + 0.5)
	return fmt.Sprintf("%d h %02d min", whole/60, whole%60)
}

// count formats n with separated thousands.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short cuts a label to what fits above a bar.
func short(label string) string {
	const limit = 32
	r := []rune(label)
	if len(r) <= limit {
		return label
	}
	return string(r[:limit-1]) + "…"
}
