import Formats
import TestSupport
import Testing

/// The rules for the sources of the package.
@Suite struct LayoutTests {
  @Test("the sources and the layers are found, and a missing folder is an error")
  func presence() throws {
    #expect(try SourceTree.swift().count > 100)
    #expect(throws: (any Error).self) { try SourceTree.files(in: "Nowhere", [".swift"]) }
    let layers = try SourceTree.layers()
    #expect(
      layers.keys.sorted()
        == [
          "Adapters", "Architectures", "Bytes", "Formats", "Inference", "Kernels", "Network",
          "Pleat", "PleatC", "Quantization", "TensorModel", "Tokens", "Weights",
        ])
    #expect(layers["TensorModel"] == [])
    #expect(layers["Kernels"] == ["TensorModel", "CKernels"])
    #expect(layers["Bytes"]?.contains("SystemPackage") == true)
  }

  @Test("no file is longer than 400 lines") func lengths() throws {
    let files =
      try SourceTree.swift() + SourceTree.files(in: "Sources", [".c", ".h", ".modulemap"])
      + SourceTree.files(in: "Tests", [".py"])
    for file in files { #expect(file.lines.count <= 401, "\(file)") }
  }

  @Test("a layer imports only the modules that Package.swift allows")
  func layers() throws {
    let layers = try SourceTree.layers()
    let system: Set<String> = ["Glibc", "Musl", "Darwin", "Synchronization", "Dispatch", "Swift"]
    for file in try SourceTree.files(in: "Sources", [".swift"]) {
      guard let allowed = layers[file.target] else { continue }
      let ours = file.imports.filter { !system.contains($0) }
      let wrong = ours.filter { !allowed.contains($0) }
      #expect(wrong == [], "\(file)")
    }
  }

  @Test("only the lowest layers import C modules and the operating system") func lowLevel() throws {
    let users: [String: Set<String>] = [
      "CZstd": ["Bytes"], "CJSONC": ["Bytes"], "CFiles": ["Bytes"], "CKernels": ["Kernels"],
      "CPleat": ["PleatC"],
      "Glibc": ["Bytes", "pleat-cli"], "Musl": ["Bytes", "pleat-cli"],
      "Darwin": ["Bytes", "pleat-cli"], "ArgumentParser": ["pleat-cli"],
    ]
    for file in try SourceTree.files(in: "Sources", [".swift"]) {
      for module in file.imports {
        #expect(users[module]?.contains(file.target) ?? true, "\(file) imports \(module)")
      }
    }
  }

  @Test("neither the library nor the command imports Foundation") func foundation() throws {
    for file in try SourceTree.files(in: "Sources", [".swift"]) {
      let found = file.imports.filter { $0.hasPrefix("Foundation") }
      #expect(found == [], "\(file)")
    }
  }

  @Test("an import of Glibc is conditional, beside Darwin") func portability() throws {
    for file in try SourceTree.files(in: "Sources", [".swift"])
    where file.imports.contains("Glibc") {
      let asksFirst = file.text.contains("#if canImport(Glibc)")
      #expect(asksFirst && file.imports.contains("Darwin"), "\(file)")
    }
  }

  @Test("of the library, the command imports only Pleat") func command() throws {
    let layers = try SourceTree.layers()
    for file in try SourceTree.files(in: "Sources/pleat-cli", [".swift"]) {
      let ours = file.imports.filter { layers[$0] != nil }
      #expect(ours.allSatisfy { $0 == "Pleat" }, "\(file)")
    }
  }

  @Test("every folder of Formats belongs to a registered format, and every format has one")
  func formatFolders() throws {
    let folders = Set(
      try SourceTree.files(in: "Sources/Formats", [".swift"]).compactMap { file in
        let parts = file.path.split(separator: "/")
        return parts.count > 3 ? String(parts[2]) : nil
      })
    // A folder is named after a container, or after a codec that shares one.
    let kinds = Formats.all.map { format in
      let container = "\(format.container)".replacing("Container", with: "")
      return [container, "\(type(of: format.codec))".replacing("Codec", with: "")]
    }
    // Weights of codes with scales, and groups that are only read, are in checkpoints of several
    // formats.
    #expect(folders.isSubset(of: kinds.joined() + ["ScaledWeights", "ReadGroups"]))
    for (format, names) in zip(Formats.all, kinds) {
      #expect(!folders.isDisjoint(with: names), "\(format.name)")
    }
  }

  @Test("formats have unique names, group sizes for their bits, and distinct suffixes or keys")
  func registry() {
    #expect(Set(Formats.all.map(\.name)).count == Formats.all.count)
    for format in Formats.all {
      #expect(!format.summary.isEmpty)
      #expect(format.bits.isEmpty == format.groupSizes.isEmpty)
      let hasOwnSuffix = format.dialect == nil
      #expect(format.container.suffixes.contains(format.name) == hasOwnSuffix, "\(format.name)")
      for other in Formats.all where other.container != format.container {
        #expect(Set(other.container.suffixes).isDisjoint(with: format.container.suffixes))
      }
      // Formats that share a container differ by their config: by their own key, or by the method
      // under the key that transformers reads.
      let alike = Formats.all.filter {
        $0.container == format.container
          && $0.dialect?.configurationKeys != ["quantization_config"]
      }
      #expect(Set(alike.map { $0.dialect?.configurationKeys ?? [] }).count == alike.count)
    }
  }

  @Test("tests use Swift Testing, not XCTest") func tests() throws {
    for file in try SourceTree.files(in: "Tests", [".swift"]) {
      #expect(!file.imports.contains("XCTest"), "\(file)")
    }
  }

  @Test("the sources have no try!, as!, fatalError or unowned") func force() throws {
    for file in try SourceTree.files(in: "Sources", [".swift"]) {
      for (index, line) in file.lines.enumerated() {
        let code = line.prefix(upTo: line.firstRange(of: "//")?.lowerBound ?? line.endIndex)
        let isForced = ["try!", "as!", "fatalError", "unowned", "nonisolated(unsafe)"].contains {
          code.contains($0)
        }
        #expect(!isForced, "\(file):\(index + 1)")
      }
    }
  }
}
