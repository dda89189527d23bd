internal import Bytes
internal import SystemPackage
internal import TensorModel

/// An opened model of one or several GGUF files.
struct GGUFReader: StoredReader {
  let stored: [StoredTensor]
  let metadata: Metadata
  let files: [InputFile]
  var companions: [Companion] { [] }
  /// The header of each file, as the file states it.
  let headers: [GGUFHeader]
  private let locations: [Location]

  private struct Location {
    var file: Int
    var offset: Int
    var swapped: GGMLType?  // set if numbers are big-endian
  }

  init(_ files: ModelFiles, limits: ReadLimits) throws(ModelError) {
    guard let first = files.files.first else {
      throw ModelError(.io, "no file to read", file: files.path.string)
    }
    let firstFile = try InputFile(first)
    let header = try GGUFHeader(firstFile, limits: limits)
    let paths = try GGUFSplit.files(of: first, header, limits: limits)
    guard files.files.count == 1 || Set(paths) == Set(files.files) else {
      throw files.severalModels
    }
    var inputs: [InputFile] = []
    var headers: [GGUFHeader] = []
    for path in paths {
      let file = path == first ? firstFile : try InputFile(path)
      inputs.append(file)
      headers.append(path == first ? header : try GGUFHeader(file, limits: limits))
    }
    try GGUFSplit.check(headers, paths)
    var metadata = headers[0].metadata
    for key in GGUFSplit.keys { metadata[key] = nil }
    var stored: [StoredTensor] = []
    var locations: [Location] = []
    var seen: Set<ExactName> = []
    for (index, header) in headers.enumerated() {
      for entry in header.entries {
        guard seen.insert(ExactName(entry.tensor.name)).inserted else {
          throw ModelError(
            .mismatch, "two files hold a tensor of the same name", file: paths[index].string,
            tensor: entry.tensor.name)
        }
        stored.append(entry.tensor)
        locations.append(
          Location(
            file: index, offset: entry.offset, swapped: header.isBigEndian ? entry.type : nil))
      }
    }
    self.files = inputs
    self.headers = headers
    self.metadata = metadata
    self.stored = stored
    self.locations = locations
  }

  // Reads must begin and end at block boundaries, so that numbers can be swapped in place.
  func read(_ stored: Int, at offset: Int, into bytes: inout MutableRawSpan) throws(ModelError) {
    let location = locations[stored]
    try files[location.file].read(at: location.offset + offset, into: &bytes)
    do throws(ModelError) { try location.swapped?.swapBytes(&bytes) } catch {
      throw error.located(file: files[location.file].path.string, tensor: self.stored[stored].name)
    }
  }

  func location(of stored: Int) -> StoredLocation? {
    let location = locations[stored]
    return location.swapped == nil
      ? StoredLocation(file: files[location.file], offset: location.offset) : nil
  }

  func copyLayout(
    _ options: WriteOptions, changing change: (Metadata) -> Metadata
  ) throws(ModelError) -> any OutputLayout {
    try GGUFLayout(copying: self, options, changing: change)
  }

  func readCompanion(
    _ index: Int, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    preconditionFailure("GGUF files have no companions")
  }
}
