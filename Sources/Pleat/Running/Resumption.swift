internal import Bytes
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel
internal import Weights

extension Plan {
  /// Whether a later run can reuse finished files: if tensors are written to several files.
  public var isResumable: Bool { layout.shardCount > 1 }

  /// The key of a run that may be continued by another; empty if the plan is not resumable.
  var resumptionKey: String { isResumable ? key : "" }

  /// A key that is equal only for plans that write the same bytes.
  ///
  /// It covers the version of Pleat, the identity of the input files and all decisions.
  var key: String {
    var lines = [PleatVersion.text, format.name] + fileNames
    lines += ([model.reader] + adapters.map(\.file.model.reader)).flatMap {
      $0.files.map(\.identity)
    }
    lines += attachments.flatMap { $0.model.reader.files.map(\.identity) }
    lines.append(JSONWriter.text(.array(layout.contents.provenance.history)))
    // The header of the first file holds the metadata.
    let metadata = GGUFMetadata.bytes(of: layout.contents.metadata)
    lines.append(CRC32C(of: metadata.span).text)
    for header in layout.fileHeaders { lines.append(CRC32C(of: header.bytes.span).text) }
    for job in jobs { lines.append(job.identity) }
    for tensor in layout.contents.stored { lines.append("\(tensor.name) \(tensor.byteCount)") }
    for plan in companions { lines.append("\(plan.companion.name) \(plan.companion.byteCount)") }
    for addition in additions { lines.append(CRC32C(of: addition.bytes.span).text) }
    let text = Array(lines.joined(separator: "\n").utf8)
    return "\(CRC32C(of: text.span).text) \(text.count)"
  }
}

extension TensorJob {
  /// A text that is equal only for jobs that make the same bytes from the same source.
  fileprivate var identity: String {
    let line = "\(target.name) \(target.shape) \(target.encoding) \(action)"
    switch transform {
    case .encode(_, .groups(let quantizer, _)): return line + " \(quantizer.schemeName)"
    case .encode(_, .scaled(let encoder)): return line + " \(encoder.arithmetic)"
    case .encode(_, .rows), .copy, .regroup, .rearrange, .moveMinima, .omit: return line
    }
  }
}
