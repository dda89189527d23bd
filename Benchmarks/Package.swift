// swift-tools-version: 6.1
import PackageDescription

// This is a separate package, so that the library does not depend on a benchmark framework.
let package = Package(
  name: "pleat-benchmarks",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "pleat", path: ".."),
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "PleatBenchmarks",
      dependencies: [
        .product(name: "Pleat", package: "pleat"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/PleatBenchmarks",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    // A symbolic link to the loops of the library, which are not a product of its package.
    .target(name: "Loops", path: "Benchmarks/Loops"),
    .executableTarget(
      name: "KernelBenchmarks",
      dependencies: ["Loops", .product(name: "Benchmark", package: "benchmark")],
      path: "Benchmarks/KernelBenchmarks",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ]
)
