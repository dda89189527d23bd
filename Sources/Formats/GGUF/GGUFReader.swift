internal import Bytes
internal import SystemPackage
internal import TensorModel

/// An opened model of one or several GGUF files.
struct GGUFReader: StoredReader {
  let stored: [StoredTensor]
  let metadata: Metadata
  let files: [InputFile]
  var companions: [Companion] { [] }
  private let places: [Place]

  private struct Place {
    var file: Int
    var offset: Int
    var swapped: GGMLType?  // set where numbers are big-endian
  }

  init(_ place: ModelPlace, limits: ReadLimits) throws(ModelError) {
    guard let first = place.files.first else {
      throw ModelError(.io, "no file to read", file: place.path.string)
    }
    let firstFile = try InputFile(first)
    let header = try GGUFHeader(firstFile, limits: limits)
    let paths = try GGUFSplit.files(of: first, header, limits: limits)
    guard place.files.count == 1 || Set(paths) == Set(place.files) else {
      throw place.severalModels
    }
    var files: [InputFile] = []
    var headers: [GGUFHeader] = []
    for path in paths {
      let file = path == first ? firstFile : try InputFile(path)
      files.append(file)
      headers.append(path == first ? header : try GGUFHeader(file, limits: limits))
    }
    try GGUFSplit.check(headers, paths)
    var metadata = headers[0].metadata
    for key in GGUFSplit.keys { metadata[key] = nil }
    var stored: [StoredTensor] = []
    var places: [Place] = []
    var seen: Set<ExactName> = []
    for (index, header) in headers.enumerated() {
      for entry in header.entries {
        guard seen.insert(ExactName(entry.tensor.name)).inserted else {
          throw ModelError(
            .mismatch, "two files hold a tensor of the same name", file: paths[index].string,
            tensor: entry.tensor.name)
        }
        stored.append(entry.tensor)
        places.append(
          Place(file: index, offset: entry.offset, swapped: header.isBigEndian ? entry.type : nil))
      }
    }
    self.files = files
    self.metadata = metadata
    self.stored = stored
    self.places = places
  }

  // Reads begin and end at whole blocks, so that numbers can be swapped in place.
  func read(_ stored: Int, at offset: Int, into bytes: inout MutableRawSpan) throws(ModelError) {
    let place = places[stored]
    try files[place.file].read(at: place.offset + offset, into: &bytes)
    do throws(ModelError) { try place.swapped?.swapBytes(&bytes) } catch {
      throw error.located(file: files[place.file].path.string, tensor: self.stored[stored].name)
    }
  }

  func place(of stored: Int) -> StoredPlace? {
    let place = places[stored]
    return place.swapped == nil
      ? StoredPlace(file: files[place.file], offset: place.offset) : nil
  }

  func readCompanion(
    _ index: Int, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    preconditionFailure("GGUF files have no companions")
  }
}
