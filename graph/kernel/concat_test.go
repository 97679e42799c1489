package kernel

import (
	"slices"
	"testing"
)

func TestConcat(t *testing.T) {
	for _, sizes := range [][]int{{1}, {0, 3, 0, 2, 0}, {5000, 1, 12000}, {0, 0}, {40000}} {
		for _, rows := range []int{0, 1, 7} {
			var parts [][]int32
			var want []int32
			next := int32(0)
			for _, size := range sizes {
				part := make([]int32, rows*size)
				for i := range part {
					next++
					part[i] = next
				}
				parts = append(parts, part)
			}
			for row := range rows {
				for i, size := range sizes {
					want = append(want, parts[i][row*size:(row+1)*size]...)
				}
			}
			team := NewTeam(3)
			y := make([]int32, len(want))
			NewConcat[int32](sizes).Run(team, y, parts)
			team.Close()
			if !slices.Equal(y, want) {
				t.Errorf("%d rows of %v are joined wrongly", rows, sizes)
			}
		}
	}
}
