package ort

import "runtime"

// PinnedVersion is the ONNX Runtime that [Install] fetches, the newest that
// both registries have.
const PinnedVersion = "1.30.0"

// release is the library of PinnedVersion for one platform: where each
// registry's package has it and the SHA-256 of that file.
type release struct {
	file string // name in the cache
	pip  packaged
	npm  packaged
}

// packaged is a library within a package.
type packaged struct {
	tag    string // pip: the wheel's platform
	entry  string // path in the archive
	sha256 string
}

// releases is by GOOS/GOARCH. The two packages of one version hold different
// builds.
var releases = map[string]release{
	"linux/amd64": {
		file: "libonnxruntime.so." + PinnedVersion,
		pip: packaged{"manylinux_2_28_x86_64", "onnxruntime/capi/libonnxruntime.so." + PinnedVersion,
			"c902c70b3003c0e99fada202f37478c515ae9bba7944c2b2abd0017bae0c82ed"},
		npm: packaged{"", "package/bin/napi-v6/linux/x64/libonnxruntime.so.1",
			"ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23"},
	},
	"linux/arm64": {
		file: "libonnxruntime.so." + PinnedVersion,
		pip: packaged{"manylinux_2_28_aarch64", "onnxruntime/capi/libonnxruntime.so." + PinnedVersion,
			"8a218e1e446880131115c368ec7005969a5022af9a15a26173de648fef0b7789"},
		npm: packaged{"", "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
			"1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76"},
	},
	"darwin/arm64": {
		file: "libonnxruntime." + PinnedVersion + ".dylib",
		pip: packaged{"macosx_14_0_arm64", "onnxruntime/capi/libonnxruntime." + PinnedVersion + ".dylib",
			"b46713ea6a25a5227541c21001f6422c1ccdeaecc369aa026a61b752520325c3"},
		npm: packaged{"", "package/bin/napi-v6/darwin/arm64/libonnxruntime." + PinnedVersion + ".dylib",
			"685d2be5dba1309c89d3a5324b7fd06a5c42f1a61bfea32d14c4cc28d072121d"},
	},
	"windows/amd64": {
		file: "onnxruntime.dll",
		pip: packaged{"win_amd64", "onnxruntime/capi/onnxruntime.dll",
			"e42c5c917207ff706530315177e39dca2539695a6a8d968a22225e34291b1f12"},
		npm: packaged{"", "package/bin/napi-v6/win32/x64/onnxruntime.dll",
			"508c362f5673483dd3a086379c392795b2e42d10d5e6f3f90ebd7ac21c97af67"},
	},
	"windows/arm64": {
		file: "onnxruntime.dll",
		pip: packaged{"win_arm64", "onnxruntime/capi/onnxruntime.dll",
			"73f0a1ed25a088da5dbc5f76af9c32f8b7dd88033715078b0c04632a9d11f745"},
		npm: packaged{"", "package/bin/napi-v6/win32/arm64/onnxruntime.dll",
			"6c3a2abf5c6aca11c48a0d338a91af309f2266f25ce2e4084e6a87bbcb0fbfd0"},
	},
}

func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }
