internal import Bytes
internal import SystemPackage
internal import TensorModel

/// Finds out what format a file has, from its first bytes rather than its name.
enum Detection {
  /// The format of the files of a place. Throws `malformed` with what the file seems to be.
  static func format(of place: ModelPlace) throws(ModelError) -> Format {
    let file = try InputFile(place.files[0])
    let head = try file.bytes(at: 0, count: min(64, file.byteCount))
    if let format = Formats.all.first(where: { $0.container.recognizes(head) }) { return format }
    // A damaged file is judged by the reader of its suffix, which says what is wrong.
    if let suffix = file.path.extension,
      let format = Formats.all.first(where: { $0.container.suffixes.contains(suffix) })
    {
      return format
    }
    let (found, hint) = diagnosis(head)
    throw ModelError(
      found == nil ? .malformed : .unsupported, "not a model that Pleat reads",
      file: file.path.string, expected: Formats.all.map(\.name).joined(separator: ", "),
      found: found, hint: hint)
  }

  private static func diagnosis(_ head: [UInt8]) -> (String?, String?) {
    if head.isEmpty { return ("an empty file", nil) }
    if head.starts(with: Array("PK".utf8)) || head.starts(with: [0x80, 0x02]) {
      return ("a PyTorch pickle", "save it with model.save_pretrained(path), as safetensors")
    }
    return (nil, nil)
  }
}
