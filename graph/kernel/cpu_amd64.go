//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/cpu"

var detected = detect()

func detect() features {
	avx2 := cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI1
	return features{
		avx2: avx2,
		avx512: avx2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL &&
			cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ,
	}
}
