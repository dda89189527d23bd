internal import Bytes
internal import Formats
internal import Kernels
internal import TensorModel

extension Plan {
  /// Whether the output is a set of files, of which a later run can use those that are whole.
  public var isResumable: Bool { layout.shardCount > 1 }

  /// Equal only for plans that make the same bytes: of the same version, from files that nobody has
  /// changed since, in the same way.
  var resumptionKey: String {
    guard isResumable else { return "" }
    let inputs = [model.reader] + adapters.map(\.file.model.reader)
    var lines = [PleatVersion.text, format.name] + fileNames
    lines += inputs.flatMap { $0.files.map(\.identity) }
    lines.append(JSONWriter.text(.array(layout.contents.provenance.history)))
    for tensor in tensors {
      lines.append("\(tensor.target.name) \(tensor.target.shape) \(tensor.action)")
    }
    for tensor in layout.contents.stored { lines.append("\(tensor.name) \(tensor.byteCount)") }
    let text = Array(lines.joined(separator: "\n").utf8)
    return "\(CRC32C(of: text.span).text) \(text.count)"
  }
}
