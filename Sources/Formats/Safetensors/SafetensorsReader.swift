internal import Bytes
internal import Dispatch
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// An opened checkpoint of one or several safetensors files.
struct SafetensorsReader: StoredReader {
  let stored: [StoredTensor]
  let metadata: Metadata
  let companions: [Companion]
  let notes: [String]
  let files: [InputFile]
  let inputPaths: [FilePath]
  /// The files that were found at the path that the user gave.
  let origin: ModelFiles
  /// The metadata of each file.
  let fileMetadata: [Metadata]
  private let locations: [(file: Int, offset: Int)]
  private let companionFiles: [InputFile]

  init(_ files: ModelFiles, limits: ReadLimits) throws(ModelError) {
    guard files.files.count <= limits.shardCount else {
      throw ModelError(
        .limit, "too many files", file: files.path.string,
        expected: "at most \(limits.shardCount)", found: "\(files.files.count)")
    }
    let headers = try Self.headers(of: files.files, limits)
    var stored: [StoredTensor] = []
    var locations: [(file: Int, offset: Int)] = []
    var inputs: [InputFile] = []
    var metadata = Metadata()
    var positions: [ExactName: Int] = [:]
    let count = headers.reduce(0) { $0 + $1.1.entries.count }
    stored.reserveCapacity(count)
    locations.reserveCapacity(count)
    // Within a file, the header has already checked that names differ.
    let needsPositions = files.files.count > 1 || files.index != nil
    if needsPositions { positions.reserveCapacity(count) }
    for (file, header) in headers {
      for entry in header.entries {
        if needsPositions, let known = positions.updateValue(stored.count, forKey: entry.name) {
          let owner = files.files[locations[known].file]
          throw ModelError(
            .mismatch, "two files hold a tensor of the same name", file: files.path.string,
            tensor: entry.tensor.name, found: "\(owner.name) and \(file.path.name)")
        }
        stored.append(entry.tensor)
        locations.append((inputs.count, entry.offset))
      }
      for entry in header.metadata.entries where metadata[entry.key] == nil {
        metadata.append(entry.key, entry.value)
      }
      inputs.append(file)
    }
    try files.index?.check(stored, at: positions, in: locations.map(\.file))
    origin = files.withoutEntries
    fileMetadata = headers.map(\.1.metadata)
    self.stored = stored
    self.locations = locations
    self.files = inputs
    self.metadata = metadata
    var companionFiles: [InputFile] = []
    for file in files.companions.files { companionFiles.append(try InputFile(file.path)) }
    self.companionFiles = companionFiles
    inputPaths =
      files.files + files.companions.files.map(\.path) + (files.index.map { [$0.path] } ?? [])
    companions = zip(files.companions.files, companionFiles).map {
      Companion(name: $0.name, byteCount: $1.byteCount)
    }
    notes = files.companions.notes
  }

  /// Opens the files and reads their headers, in parallel.
  private static func headers(
    of files: [FilePath], _ limits: ReadLimits
  ) throws(ModelError) -> [(InputFile, SafetensorsHeader)] {
    typealias Opened = Result<(InputFile, SafetensorsHeader), ModelError>
    let opened: Mutex<[Opened?]> = Mutex(Array(repeating: nil, count: files.count))
    DispatchQueue.concurrentPerform(iterations: files.count) { index in
      let result = Opened { () throws(ModelError) in
        let file = try InputFile(files[index])
        return (file, try SafetensorsHeader(file, limits: limits))
      }
      opened.withLock { $0[index] = result }
    }
    var headers: [(InputFile, SafetensorsHeader)] = []
    for case let result? in opened.withLock({ $0 }) { headers.append(try result.get()) }
    return headers
  }

  func read(_ stored: Int, at offset: Int, into bytes: inout MutableRawSpan) throws(ModelError) {
    let location = locations[stored]
    try files[location.file].read(at: location.offset + offset, into: &bytes)
  }

  func location(of stored: Int) -> StoredLocation? {
    StoredLocation(file: files[locations[stored].file], offset: locations[stored].offset)
  }

  /// The stored tensors of each file, in file order.
  var tensorsByFile: [[Int]] {
    var tensors = [[Int]](repeating: [], count: files.count)
    for (index, location) in locations.enumerated() { tensors[location.file].append(index) }
    return tensors
  }

  func copyLayout(
    _ options: WriteOptions, changing change: (Metadata) -> Metadata
  ) throws(ModelError) -> any OutputLayout {
    try SafetensorsLayout(copying: self, options, changing: change)
  }

  func readCompanion(
    _ index: Int, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    try companionFiles[index].read(at: offset, into: &bytes)
  }
}
