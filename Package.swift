// swift-tools-version: 6.2
import PackageDescription

/// The library of libFuzzer without its `main`, where `scripts/fuzz` builds; nil for everyone else.
let fuzzing = Context.environment["PLEAT_FUZZ"]

/// Whether only the tests that use several threads or processes are built.
///
/// `scripts/sanitize` does so with the thread sanitizer.
let onlyThreads = Context.environment["PLEAT_THREADS"] != nil

let strict: [SwiftSetting] =
  [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
  ] + (fuzzing == nil ? [] : [.unsafeFlags(["-sanitize=fuzzer"])])

/// For what is not a test: every use of a pointer, too, is marked as unsafe.
let safe = strict + [.strictMemorySafety()]

let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

/// One layer of the library; `dependencies` lists everything it may import.
func layer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: safe)
}

/// The tests of one target; every test target sees the shared test support.
///
/// `threads` are the files with tests that use several threads or processes, and those that these
/// need.
func tests(
  of name: String, _ dependencies: [Target.Dependency], excluding folders: [String] = [],
  threads: [String] = []
) -> Target? {
  if onlyThreads && threads.isEmpty { return nil }
  return .testTarget(
    name: name + "Tests", dependencies: dependencies + ["TestSupport"], exclude: folders,
    sources: onlyThreads ? threads.map { $0 + ".swift" } : nil, swiftSettings: strict)
}

let package = Package(
  name: "pleat",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Pleat", targets: ["Pleat"]),
    .library(name: "Inference", targets: ["Inference"]),
    .library(name: "pleat-c", type: .dynamic, targets: ["PleatC"]),
    .executable(name: "pleat", targets: ["pleat-cli"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
  ],
  targets: [
    .systemLibrary(
      name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]),
    .systemLibrary(
      name: "CJSONC", pkgConfig: "json-c", providers: [.apt(["libjson-c-dev"]), .brew(["json-c"])]),
    .target(name: "CKernels"),
    .target(name: "CFiles"),
    .target(name: "CPleat"),

    layer("TensorModel", []),
    layer("Kernels", ["TensorModel", "CKernels"]),
    layer("Bytes", ["TensorModel", "Kernels", "CFiles", "CZstd", "CJSONC", system]),
    layer("Architectures", ["TensorModel", "Bytes"]),
    layer("Formats", ["TensorModel", "Bytes", "Kernels", "Architectures", system]),
    layer("Quantization", ["TensorModel", "Kernels"]),
    layer("Adapters", ["TensorModel", "Bytes", "Kernels", "Architectures"]),
    layer("Weights", ["TensorModel", "Bytes", "Kernels", "Formats", system]),
    layer("Tokens", ["TensorModel", "Bytes", "Formats", "Weights", system]),
    layer(
      "Network",
      ["TensorModel", "Bytes", "Kernels", "Architectures", "Formats", "Adapters", "Weights"]),
    layer(
      "Inference",
      [
        "TensorModel", "Bytes", "Kernels", "Architectures", "Formats", "Weights", "Network",
        "Tokens",
      ]),
    layer(
      "Pleat",
      [
        "TensorModel", "Bytes", "Kernels", "Architectures", "Formats", "Quantization", "Adapters",
        "Weights", "Tokens", "Network", "Inference", system,
      ]),
    layer("PleatC", ["CPleat", "Inference", "Bytes"]),
    .executableTarget(
      name: "pleat-cli",
      dependencies: [
        "Pleat", system, .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: safe),

    // As a package of somebody else, it sees only what is public.
    .executableTarget(
      name: "complete", dependencies: ["Inference"], path: "examples/swift", packageAccess: false,
      swiftSettings: safe),

    .target(
      name: "TestSupport", dependencies: ["TensorModel", "Bytes", system],
      path: "Tests/TestSupport", swiftSettings: strict),
    .target(
      name: "LawSupport",
      dependencies: [
        "TensorModel", "Bytes", "Kernels", "Formats", "Quantization", "Weights", "TestSupport",
        system,
      ], path: "Tests/LawSupport", swiftSettings: strict),
    .target(
      name: "FuzzSupport",
      dependencies: [
        "TensorModel", "Kernels", "Bytes", "Architectures", "Formats", "Adapters", "Weights",
        "Tokens", "Pleat", "TestSupport", system,
      ], path: "Tests/FuzzSupport", swiftSettings: strict),
    tests(of: "TensorModel", ["TensorModel"]),
    tests(of: "Kernels", ["Kernels"]),
    tests(
      of: "Bytes", ["TensorModel", "Bytes", "Kernels", system],
      threads: ["CopyTests", "FileTests", "LargeOutputTests", "StagingTests", "TurnstileTests"]),
    tests(
      of: "Formats",
      [
        "TensorModel", "Bytes", "Kernels", "Architectures", "Formats", "Quantization", "Weights",
        "Pleat", "LawSupport", system,
      ], threads: ["CompressionTests", "Support"]),
    tests(of: "Architectures", ["TensorModel", "Bytes", "Architectures", "Formats"]),
    tests(of: "Quantization", ["TensorModel", "Kernels", "Quantization", "LawSupport"]),
    tests(of: "Weights", ["TensorModel", "Kernels", "Formats", "Weights", "LawSupport"]),
    tests(of: "Tokens", ["TensorModel", "Bytes", "Formats", "Tokens", system]),
    tests(of: "Network", ["TensorModel", "Kernels", "Weights", "Network"]),
    tests(of: "Inference", ["Inference"]),
    tests(of: "PleatC", ["CPleat", "Inference", "PleatC"], threads: ["CThreadTests"]),
    tests(of: "Adapters", ["TensorModel", "Bytes", "Kernels", "Architectures", "Adapters"]),
    tests(
      of: "Pleat",
      [
        "TensorModel", "Bytes", "Kernels", "Architectures", "Formats", "Quantization", "Adapters",
        "Weights", "Pleat", system,
      ],
      threads: [
        "FoldRunTests", "ResumptionTests", "WorkerTests", "FoldSupport", "ProgressLog", "Support",
      ]),
    tests(of: "Layout", ["Architectures", "Formats"]),
    tests(
      of: "Command", [], excluding: ["cases"], threads: ["InterruptionTests", "CommandCase"]),
    tests(of: "Fuzz", ["FuzzSupport"]),
  ].compactMap(\.self)
)

if let fuzzing {
  package.products.append(.executable(name: "pleat-fuzz", targets: ["pleat-fuzz"]))
  package.targets.append(
    .executableTarget(
      name: "pleat-fuzz", dependencies: ["FuzzSupport", "Kernels", "TestSupport"], path: "Fuzz",
      exclude: ["json.dict"], swiftSettings: strict,
      linkerSettings: [.unsafeFlags([fuzzing]), .linkedLibrary("stdc++")]))
}
