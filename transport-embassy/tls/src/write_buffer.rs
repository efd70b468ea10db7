use crate::{
    TlsError,
    buffer::CryptoBuffer,
    config::{TLS_RECORD_OVERHEAD, TlsCipherSuite},
    connection::encrypt,
    key_schedule::{ReadKeySchedule, WriteKeySchedule},
    record::{ClientRecord, ClientRecordHeader},
};

pub struct WriteBuffer<'a> {
    buffer: &'a mut [u8],
    pos: usize,
    current_header: Option<ClientRecordHeader>,
}

impl<'a> WriteBuffer<'a> {
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            pos: 0,
            current_header: None,
        }
    }

    fn max_block_size(&self) -> usize {
        self.buffer.len().saturating_sub(TLS_RECORD_OVERHEAD)
    }

    pub fn is_full(&self) -> bool {
        self.pos == self.max_block_size()
    }

    pub fn append(&mut self, buf: &[u8]) -> usize {
        let buffered = usize::min(buf.len(), self.space());
        if buffered > 0 {
            self.buffer[self.pos..self.pos + buffered].copy_from_slice(&buf[..buffered]);
            self.pos += buffered;
        }
        buffered
    }

    pub fn is_empty(&self) -> bool {
        self.pos == 0
    }

    fn space(&self) -> usize {
        self.max_block_size().saturating_sub(self.pos)
    }

    pub fn contains(&self, header: ClientRecordHeader) -> bool {
        self.current_header.as_ref() == Some(&header)
    }

    pub(crate) fn start_record(&mut self, header: ClientRecordHeader) -> Result<(), TlsError> {
        debug_assert!(self.current_header.is_none());

        debug!("start_record({:?})", header);
        self.current_header = Some(header);

        self.with_buffer(|mut buf| {
            header.encode(&mut buf)?;
            buf.push_u16(0)?;
            Ok(buf.rewind())
        })
    }

    fn with_buffer(
        &mut self,
        op: impl FnOnce(CryptoBuffer) -> Result<CryptoBuffer, TlsError>,
    ) -> Result<(), TlsError> {
        let buf = CryptoBuffer::wrap_with_pos(self.buffer, self.pos);
        self.pos = op(buf)?.len();
        Ok(())
    }

    pub(crate) fn close_record<CipherSuite>(
        &mut self,
        write_key_schedule: &mut WriteKeySchedule<CipherSuite>,
    ) -> Result<&[u8], TlsError>
    where
        CipherSuite: TlsCipherSuite,
    {
        const HEADER_SIZE: usize = 5;

        let header = self.current_header.take().ok_or(TlsError::InternalError)?;
        self.with_buffer(|mut buf| {
            if !header.is_encrypted() {
                return Ok(buf);
            }

            buf.push(header.trailer_content_type() as u8)
                .map_err(|_| TlsError::EncodeError)?;

            let mut buf = buf.offset(HEADER_SIZE);
            encrypt(write_key_schedule, &mut buf)?;
            Ok(buf.rewind())
        })?;
        let [upper, lower] = ((self.pos - HEADER_SIZE) as u16).to_be_bytes();

        self.buffer[3] = upper;
        self.buffer[4] = lower;

        let slice = &self.buffer[..self.pos];

        self.pos = 0;

        Ok(slice)
    }

    pub fn write_record<CipherSuite>(
        &mut self,
        record: &ClientRecord<CipherSuite>,
        write_key_schedule: &mut WriteKeySchedule<CipherSuite>,
        read_key_schedule: &mut ReadKeySchedule<CipherSuite>,
    ) -> Result<&[u8], TlsError>
    where
        CipherSuite: TlsCipherSuite,
    {
        if self.current_header.is_some() {
            return Err(TlsError::InternalError);
        }

        self.start_record(record.header())?;
        self.with_buffer(|buf| {
            let mut buf = buf.forward();
            record.encode_payload(&mut buf)?;
            record.finish_record(&buf, read_key_schedule.transcript_hash());
            Ok(buf.rewind())
        })?;
        self.close_record(write_key_schedule)
    }
}
