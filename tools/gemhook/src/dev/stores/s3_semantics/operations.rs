//! Which operations there are: those that our code and ordinary clients use.

use super::*;

type Answer<'t, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 't>>;

macro_rules! judged {
    ($($operation:ident($input:ty) -> $output:ty = $method:ident;)*) => {$(
        fn $operation<'s, 't>(&'s self, req: S3Request<$input>) -> Answer<'t, $output>
        where
            's: 't,
            Self: 't,
        {
            Box::pin(self.$method(req))
        }
    )*};
}

macro_rules! as_they_are {
    ($($operation:ident($input:ty) -> $output:ty;)*) => {$(
        fn $operation<'s, 't>(&'s self, req: S3Request<$input>) -> Answer<'t, $output>
        where
            's: 't,
            Self: 't,
        {
            self.fs.$operation(req)
        }
    )*};
}

impl S3 for S3Semantics {
    judged! {
        put_object(PutObjectInput) -> PutObjectOutput = put;
        get_object(GetObjectInput) -> GetObjectOutput = get;
        head_object(HeadObjectInput) -> HeadObjectOutput = head;
        copy_object(CopyObjectInput) -> CopyObjectOutput = copy;
        delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete;
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete_all;
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = create;
        upload_part(UploadPartInput) -> UploadPartOutput = part;
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = complete;
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = abort;
        list_parts(ListPartsInput) -> ListPartsOutput = parts;
    }

    as_they_are! {
        list_objects(ListObjectsInput) -> ListObjectsOutput;
        list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
        list_buckets(ListBucketsInput) -> ListBucketsOutput;
        head_bucket(HeadBucketInput) -> HeadBucketOutput;
        create_bucket(CreateBucketInput) -> CreateBucketOutput;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    }
}
