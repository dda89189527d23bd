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
    var key = LineChecksum()
    key.add(PleatVersion.text)
    key.add(format.name)
    for name in fileNames { key.add(name) }
    for reader in [model.reader] + adapters.map(\.file.model.reader) {
      for file in reader.files { key.add(file.identity) }
    }
    for file in attachments.flatMap({ $0.model.reader.files }) { key.add(file.identity) }
    key.add(JSONWriter.text(.array(layout.contents.provenance.history)))
    // The header of the first file holds the metadata.
    key.add(GGUFMetadata.bytes(of: layout.contents.metadata))
    // The index of shards, which comes last, follows from their headers.
    let headers = layout.fileHeaders.prefix(layout.shardCount)
    for header in headers { key.add(header.text) }
    var known = RecentValues<(kind: Shared<TensorJob.Kind>, identity: String)>()
    for job in jobs {
      let same = known.first { $0.kind.isSame(as: job.kind) }
      let identity = same?.identity ?? job.kindIdentity
      if same == nil { known.insert((job.kind, identity)) }
      key.add("\(job.target.name) \(identity)")
    }
    if headers.isEmpty {
      for tensor in layout.contents.stored { key.add("\(tensor.name) \(tensor.byteCount)") }
    }
    for plan in companions { key.add("\(plan.companion.name) \(plan.companion.byteCount)") }
    for addition in additions { key.add(addition.bytes) }
    return key.text
  }
}

/// The checksum and the length of lines, of which none is kept: a model may have 400,000.
private struct LineChecksum {
  private var checksum = CRC32C()
  private var byteCount = 0

  mutating func add(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    checksum.update(bytes.span)
    byteCount += bytes.count
  }

  /// Adds a line with the checksum of some bytes.
  mutating func add(_ bytes: [UInt8]) { add(CRC32C(of: bytes.span).text) }

  /// Adds a line with the checksum of a text.
  mutating func add(_ text: any HeaderText) {
    var checksum = CRC32C()
    text.write { checksum.update($0.span) }
    add(checksum.text)
  }

  var text: String { "\(checksum.text) \(byteCount)" }
}

extension TensorJob {
  /// A text that is equal only for jobs that make the same bytes from the same source, and so for all
  /// jobs of a kind.
  fileprivate var kindIdentity: String {
    let line = "\(target.shape) \(target.encoding) \(action)"
    switch transform {
    case .encode(_, .groups(let quantizer, _)): return line + " \(quantizer.schemeName)"
    case .encode(_, .scaled(let encoder)): return line + " \(encoder.arithmetic)"
    case .encode(_, .rows), .copy, .regroup, .rearrange, .moveMinima, .omit: return line
    }
  }
}
