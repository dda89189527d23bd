import Formats
import TestSupport
import Testing

/// The rules of the house, checked on its own sources.
@Suite struct LayoutTests {
  @Test("there are sources to look at") func presence() {
    #expect(SourceTree.swift.count > 100)
    #expect(
      SourceTree.layers.keys.sorted()
        == ["Adapters", "Bytes", "Formats", "Kernels", "Pleat", "Quantization", "TensorModel"])
    #expect(SourceTree.layers["TensorModel"] == [])
    #expect(SourceTree.layers["Kernels"] == ["TensorModel", "CKernels"])
    #expect(SourceTree.layers["Bytes"]?.contains("SystemPackage") == true)
  }

  @Test("no file is longer than 400 lines") func lengths() {
    let files =
      SourceTree.swift + SourceTree.files(in: "Sources", [".c", ".h", ".modulemap"])
      + SourceTree.files(in: "Tests", [".py"])
    for file in files { #expect(file.lines.count <= 401, "\(file)") }
  }

  @Test("a layer imports only what Package.swift lets it")
  func layers() {
    let system: Set<String> = ["Glibc", "Musl", "Darwin", "Synchronization", "Dispatch"]
    for file in SourceTree.files(in: "Sources", [".swift"]) {
      guard let allowed = SourceTree.layers[file.target] else { continue }
      let ours = file.imports.filter { !system.contains($0) }
      let wrong = ours.filter { !allowed.contains($0) }
      #expect(wrong == [], "\(file)")
    }
  }

  @Test("only the bottom of the house touches C and the operating system") func lowLevel() {
    let users: [String: Set<String>] = [
      "CZstd": ["Bytes"], "CJSONC": ["Bytes"], "CFiles": ["Bytes"], "CKernels": ["Kernels"],
      "Glibc": ["Bytes", "pleat-cli"], "Musl": ["Bytes", "pleat-cli"],
      "Darwin": ["Bytes", "pleat-cli"], "ArgumentParser": ["pleat-cli"],
    ]
    for file in SourceTree.files(in: "Sources", [".swift"]) {
      for module in file.imports {
        #expect(users[module]?.contains(file.target) ?? true, "\(file) imports \(module)")
      }
    }
  }

  @Test("Foundation is imported nowhere in the library or the command") func foundation() {
    for file in SourceTree.files(in: "Sources", [".swift"]) {
      let found = file.imports.filter { $0.hasPrefix("Foundation") }
      #expect(found == [], "\(file)")
    }
  }

  @Test("an import of Glibc is one of several systems") func portability() {
    for file in SourceTree.files(in: "Sources", [".swift"]) where file.imports.contains("Glibc") {
      let asksFirst = file.text.contains("#if canImport(Glibc)")
      #expect(asksFirst && file.imports.contains("Darwin"), "\(file)")
    }
  }

  @Test("the command imports Pleat alone of the library") func command() {
    for file in SourceTree.files(in: "Sources/pleat-cli", [".swift"]) {
      let ours = file.imports.filter { SourceTree.layers[$0] != nil }
      #expect(ours.allSatisfy { $0 == "Pleat" }, "\(file)")
    }
  }

  @Test("every folder of Formats is of a registered format, and every format has one")
  func formatFolders() {
    let folders = Set(
      SourceTree.files(in: "Sources/Formats", [".swift"]).compactMap { file in
        let parts = file.path.split(separator: "/")
        return parts.count > 3 ? String(parts[2]) : nil
      })
    // A folder is named for a container, or for a spelling that shares one.
    let kinds = Formats.all.map { format in
      let container = "\(format.container)".replacing("Container", with: "")
      return [container, "\(type(of: format.spelling))".replacing("Spelling", with: "")]
    }
    #expect(folders.isSubset(of: kinds.joined()))
    for (format, names) in zip(Formats.all, kinds) {
      #expect(!folders.isDisjoint(with: names), "\(format.name)")
    }
  }

  @Test("a format has a name, groups for its codes, and endings that tell it or a config that does")
  func registry() {
    #expect(Set(Formats.all.map(\.name)).count == Formats.all.count)
    for format in Formats.all {
      #expect(!format.summary.isEmpty)
      #expect(format.bits.isEmpty == format.groupSizes.isEmpty)
      let isTold = format.spelling.configurationKeys.isEmpty
      #expect(format.container.suffixes.contains(format.name) == isTold, "\(format.name)")
      for other in Formats.all where other.container != format.container {
        #expect(Set(other.container.suffixes).isDisjoint(with: format.container.suffixes))
      }
      // Formats that share a container differ by what their configs have: a key of their own, or a
      // method under the key that transformers reads.
      let alike = Formats.all.filter {
        $0.container == format.container
          && $0.spelling.configurationKeys != ["quantization_config"]
      }
      #expect(Set(alike.map(\.spelling.configurationKeys)).count == alike.count)
    }
  }

  @Test("tests are written with Swift Testing") func tests() {
    for file in SourceTree.files(in: "Tests", [".swift"]) {
      #expect(!file.imports.contains("XCTest"), "\(file)")
    }
  }

  @Test("nothing forces: no try!, no as!, no unwrapping by exclamation mark") func force() {
    for file in SourceTree.files(in: "Sources", [".swift"]) {
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
