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
  let files: [InputFile]
  let inputPaths: [FilePath]
  private let places: [(file: Int, offset: Int)]
  private let companionFiles: [InputFile]

  init(_ place: ModelPlace, limits: ReadLimits) throws(ModelError) {
    guard place.files.count <= limits.shardCount else {
      throw ModelError(
        .limit, "too many files", file: place.path.string,
        expected: "at most \(limits.shardCount)", found: "\(place.files.count)")
    }
    let headers = try Self.headers(of: place.files, limits)
    var stored: [StoredTensor] = []
    var places: [(Int, Int)] = []
    var files: [InputFile] = []
    var metadata = Metadata()
    var owners: [ExactName: Int] = [:]
    let count = headers.reduce(0) { $0 + $1.1.entries.count }
    stored.reserveCapacity(count)
    places.reserveCapacity(count)
    // Within a file the header has seen to it that names differ.
    let needsOwners = place.files.count > 1 || place.index != nil
    if needsOwners { owners.reserveCapacity(count) }
    for (file, header) in headers {
      for entry in header.entries {
        if needsOwners, let owner = owners.updateValue(files.count, forKey: entry.name) {
          throw ModelError(
            .mismatch, "two files hold a tensor of the same name", file: place.path.string,
            tensor: entry.tensor.name, found: "\(place.files[owner].name) and \(file.path.name)")
        }
        stored.append(entry.tensor)
        places.append((files.count, entry.offset))
      }
      for entry in header.metadata.entries where metadata[entry.key] == nil {
        metadata.append(entry.key, entry.value)
      }
      files.append(file)
    }
    try place.index?.check(owners)
    self.stored = stored
    self.places = places
    self.files = files
    self.metadata = metadata
    var companionFiles: [InputFile] = []
    for path in place.companions { companionFiles.append(try InputFile(path)) }
    self.companionFiles = companionFiles
    inputPaths = place.files + place.companions + (place.index.map { [$0.path] } ?? [])
    companions = companionFiles.map { Companion(name: $0.path.name, byteCount: $0.byteCount) }
  }

  /// The files with their headers, which all processors read.
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
    let place = places[stored]
    try files[place.file].read(at: place.offset + offset, into: &bytes)
  }

  func place(of stored: Int) -> StoredPlace? {
    StoredPlace(file: files[places[stored].file], offset: places[stored].offset)
  }

  func readCompanion(
    _ index: Int, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    try companionFiles[index].read(at: offset, into: &bytes)
  }
}
