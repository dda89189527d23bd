internal import Bytes
internal import Formats
internal import SystemPackage
internal import TensorModel

extension TensorSink {
  /// Compares sealed files with what they have to be.
  ///
  /// `writing` gives the blocks that they were made of once more. Throws `io` where the disk has
  /// something else, and what `writing` throws.
  func readBack(
    _ layout: any OutputLayout, _ writing: (any BlockSink) throws(ModelError) -> Void
  ) throws(ModelError) {
    let check = try ReadBack(layout, sealedPath)
    try writing(check)
    try check.finish()
  }
}

/// Compares what was written with what it has to be: takes the blocks that a file was made of, and
/// reads the file.
final class ReadBack: BlockSink {
  private let written: Model
  private let names: [String]  // of the stored tensors of the plan
  private let places: [Int]  // for each of them the index in `written`
  private let companionNames: [String]
  private let companionPlaces: [String: Int]  // in `written`
  private let holdsCompanions: Bool
  private let folder: FilePath?  // where companions are files of their own

  /// A comparison of files that a layout describes with those at a path, read from the disk.
  ///
  /// Throws `io` when they do not begin as they must, or a stored tensor is missing.
  init(_ layout: any OutputLayout, _ path: FilePath) throws(ModelError) {
    let folder = layout.folder == nil ? path.parentFolder : path
    written = try Self.trusting(path.string) { () throws(ModelError) in
      // What the system keeps of them in memory is not what a reader will find.
      for name in layout.fileNames { try InputFile(folder.appending(name)).forgetCached() }
      for head in layout.heads { try Self.compare(head.bytes, folder.appending(head.name)) }
      return try Model.open(path.string)
    }
    written.reader.startChecking()
    names = layout.contents.stored.map(\.name)
    companionNames = layout.contents.companions.map(\.name)
    companionPlaces = Dictionary(
      written.catalog.companions.enumerated().map { ($0.element.name, $0.offset) },
      uniquingKeysWith: { first, _ in first })
    holdsCompanions = layout.holdsCompanions
    self.folder = layout.folder == nil ? nil : folder
    // Parts of one name follow each other in the order of the spelling.
    var found: [ExactName: [Int]] = [:]
    for (index, tensor) in written.reader.stored.enumerated() {
      found[ExactName(tensor.name), default: []].append(index)
    }
    var taken: [ExactName: Int] = [:]
    var places: [Int] = []
    for name in names {
      let key = ExactName(name)
      let number = taken[key, default: 0]
      guard let indices = found[key], number < indices.count else {
        throw Self.fault("what was written lacks a tensor", written.path, name)
      }
      taken[key] = number + 1
      places.append(indices[number])
    }
    self.places = places
  }

  func write(_ block: [PartBlock], ticket: Int) throws(ModelError) {
    for part in block {
      switch part.content {
      case .bytes(let bytes):
        let lines = part.lines ?? .init(count: 1, distance: 0)
        let count = bytes.count / max(1, lines.count)
        for line in 0..<lines.count {
          try compare(
            bytes[line * count..<(line + 1) * count], part.stored,
            part.offset + line * lines.distance)
        }
      case .range(let file, let range):
        for start in stride(from: range.lowerBound, to: range.upperBound, by: 1 << 20) {
          let count = min(1 << 20, range.upperBound - start)
          try compare(
            try file.bytes(at: start, count: count)[...], part.stored,
            part.offset + start - range.lowerBound)
        }
      }
    }
  }

  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError) {
    guard holdsCompanions else { return }
    let name = companionNames[index]
    let found = try Self.trusting(written.path, name) { () throws(ModelError) -> [UInt8] in
      if let folder {
        return try InputFile(folder.appending(name)).bytes(at: offset, count: bytes.count)
      }
      guard let place = companionPlaces[name] else { return [] }
      var found = [UInt8](repeating: 0, count: bytes.count)
      try found.change(0..<bytes.count) { (span) throws(ModelError) in
        try written.reader.readCompanion(place, at: offset, into: &span)
      }
      return found
    }
    guard found == bytes else {
      throw Self.fault("what was written is not what was read back", written.path, name)
    }
  }

  private func compare(
    _ bytes: ArraySlice<UInt8>, _ stored: Int, _ offset: Int
  ) throws(ModelError) {
    var found = [UInt8](repeating: 0, count: bytes.count)
    try Self.trusting(written.path, names[stored]) { () throws(ModelError) in
      try found.change(0..<bytes.count) { (span) throws(ModelError) in
        try written.reader.read(places[stored], at: offset, into: &span)
      }
    }
    guard found[...] == bytes else {
      throw Self.fault("what was written is not what was read back", written.path, names[stored])
    }
  }

  /// Compares what a file says of itself with its own checksums, once all of it has been read.
  ///
  /// Throws `io`.
  func finish() throws(ModelError) {
    try Self.trusting(written.path) { () throws(ModelError) in try written.reader.checkRead() }
  }

  /// Throws `io` when a file does not begin with some bytes.
  private static func compare(_ bytes: [UInt8], _ path: FilePath) throws(ModelError) {
    let file = try InputFile(path)
    guard file.byteCount >= bytes.count, try file.bytes(at: 0, count: bytes.count) == bytes else {
      throw fault("what was written is not what was read back", path.string, nil)
    }
  }

  /// What reading the files gives; that they make no sense is the fault of the machine.
  private static func trusting<Result>(
    _ path: String, _ tensor: String? = nil, _ reading: () throws(ModelError) -> Result
  ) throws(ModelError) -> Result {
    do throws(ModelError) {
      return try reading()
    } catch  where error.kind != .io {
      throw fault("what was written cannot be read back: \(error.what)", path, tensor)
    }
  }

  private static func fault(_ what: String, _ path: String, _ tensor: String?) -> ModelError {
    ModelError(
      .io, what, file: path, tensor: tensor,
      hint: "the disk or the memory of this machine is not to be trusted")
  }
}
